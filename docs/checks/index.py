"""Writes the table of all checks in docs/checks.md from the rules and their pages: python docs/checks/index.py"""

from __future__ import annotations

import re
from pathlib import Path

from torchbce.checks.rule import catalogue

HERE = Path(__file__).parent
PAGE = HERE.parent / "checks.md"
TABLE = re.compile(r"^\| code \| name \|.*?(?=\n\n|\Z)", re.M | re.S)


def table() -> str:
    """A row for each rule; the levels are those of its page."""
    rows = ["| code | name | holds if | level |", "|---|---|---|---|"]
    for code, rule in catalogue().items():
        level = re.search(r"^\| level \| (.*) \|$", (HERE / f"{code}.md").read_text(), re.M)
        assert level, f"{code}.md has no row of levels"
        rows.append(f"| [{code}](checks/{code}.md) | {rule.slug} | {rule.title} | {level[1]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text()).rstrip() + "\n")
