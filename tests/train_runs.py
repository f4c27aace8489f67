"""Run folders of the command `train`, read for the tests."""

from __future__ import annotations

import re


def number(pattern: str, text: str) -> float:
    return float(re.search(pattern, text).group(1))
