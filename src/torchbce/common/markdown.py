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
    found = shown(text)
    if not found.strip(" "):
        return escaped(repr(found))
    longest = max(map(len, re.findall("`+", found)), default=0)
    if found[0] in "` " or found[-1] in "` ":  # one space on each side is taken away again
        found = f" {found} "
    marks = "`" * (longest + 1)
    return marks + (found.replace("|", "\\|") if in_table else found) + marks
