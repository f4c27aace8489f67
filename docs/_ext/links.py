"""Links of the pages that leave docs: as in the repository, so that they work there, and made to work on the site."""

from __future__ import annotations

import re
from typing import Any

MOVES = (
    (re.compile(r"\]\((?:\.\./)+benchmarks/results/([\w-]+)\.md"), r"](/measured/\1.md"),
    (re.compile(r"\]\((?:\.\./)+benchmarks/results/?\)"), r"](/measured.md)"),
    (re.compile(r"\]\((?:\.\./)+CHANGELOG\.md"), r"](/changes.md"),
    (re.compile(r"\]\((?:\.\./)+CONTRIBUTING\.md"), r"](/contributing.md"),
    (re.compile(r"\]\((?:\.\./)+examples/gallery/?\)"), r"](/gallery/index.rst)"),
)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", moved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def moved(app: Any, page: str, source: list[str]) -> None:
    for pattern, to in MOVES:
        source[0] = pattern.sub(to, source[0])
