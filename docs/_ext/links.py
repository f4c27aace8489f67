"""Links of the pages as they work in the repository, made to work on the site: those that leave docs, and to terms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MOVES = (
    (re.compile(r"\]\((?:\.\./)+benchmarks/results/([\w-]+)\.md"), r"](/measured/\1.md"),
    (re.compile(r"\]\((?:\.\./)+benchmarks/results/?\)"), r"](/measured.md)"),
    (re.compile(r"\]\((?:\.\./)+CHANGELOG\.md"), r"](/changes.md"),
    (re.compile(r"\]\((?:\.\./)+CONTRIBUTING\.md"), r"](/contributing.md"),
    (re.compile(r"\]\((?:\.\./)+examples/gallery/?\)"), r"](/gallery/index.rst)"),
)
TO_TERM = re.compile(r"\[([^\]\[]+)\]\((?:\.\./)*glossary\.md#([\w-]+)\)")


def setup(app: Any) -> dict[str, bool]:
    known = terms(Path(app.srcdir))

    def moved(app: Any, page: str, source: list[str]) -> None:
        source[0] = to_terms(source[0], known)
        for pattern, to in MOVES:
            source[0] = pattern.sub(to, source[0])

    app.connect("source-read", moved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def terms(docs: Path) -> dict[str, str]:
    """The glossary's terms by what links call them: D2 by d2, base rate by base-rate."""
    page = (docs / "glossary.md").read_text(encoding="utf-8")
    return {name.lower().replace(" ", "-"): name for name in re.findall(r"^\*\*(.+)\*\*$", page, re.M)}


def to_terms(text: str, known: dict[str, str]) -> str:
    """`[ones](glossary.md#base-rate)` as Sphinx's reference to a term, which warns if there is none."""
    return TO_TERM.sub(lambda link: f"{{term}}`{link[1]} <{known.get(link[2], link[2])}>`", text)
