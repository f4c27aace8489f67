"""Programs and results of the compiled kernels."""

from __future__ import annotations

import subprocess
import textwrap

import pytest

import forked
from torchbce.engine import select


@pytest.fixture(autouse=True)
def only_the_kernels():
    with select.forced("cpu"):
        yield


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(textwrap.dedent(script), environment=environment, strict=True)
