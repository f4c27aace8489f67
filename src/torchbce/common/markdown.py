"""Text from data in Markdown: it reads as it is, and no renderer takes it for HTML, emphasis, a link or mathematics.

By CommonMark, with the tables and bare links of GitHub's flavour. Both are for text within a line, behind other text.
"""

from __future__ import annotations

import re

from torchbce.common.visible import NAME, shown

__all__ = ["code", "escaped"]

# What begins something within a line, what ends a cell, and what makes a link of a bare address.
_SPECIAL = re.compile(r"[\\`*_\[\]<>&~|$@]|(?<=www)\.|:(?=//)", re.IGNORECASE)


def escaped(text: object, limit: int = NAME) -> str:
    """Escape text among other text, or in a cell of a table."""
    return _SPECIAL.sub(lambda special: f"\\{special[0]}", shown(text, limit))


def code(text: object, *, in_table: bool = False) -> str:
    """Return text as code; `in_table` escapes bars, which would end the cell."""
    literal = shown(text)
    if not literal.strip(" "):
        return escaped(repr(literal))
    longest = max(map(len, re.findall("`+", literal)), default=0)
    if literal[0] in "` " or literal[-1] in "` ":  # one space on each side is taken away again
        literal = f" {literal} "
    marks = "`" * (longest + 1)
    return marks + (literal.replace("|", "\\|") if in_table else literal) + marks
