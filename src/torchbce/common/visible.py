"""Text from data, safe to show: a name or a cell can neither steer a terminal nor forge a line, and stays short.

What a reader cannot see (control, bidirectional, zero-width and line-breaking characters, lone surrogates) is written
as Python's escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MESSAGE", "NAME", "shown", "visible"]

NAME, MESSAGE = 120, 2_000  # characters of a name or cell, and of a message, that are shown at most

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def visible(text: str, keep: str = "") -> str:
    """Return the whole text with what cannot be seen as escapes, but for the characters in `keep`."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def shown(text: object, limit: int = NAME) -> str:
    """Return the text in one line, with what cannot be seen as escapes; beyond `limit` its two ends alone.

    Between these stands how many characters there are, where the limit leaves room for it.
    """
    whole = str(text)
    if len(whole) <= limit and len(escaped := visible(whole)) <= limit:
        return escaped
    between = f"… ({len(whole):,} characters) …" if limit >= NAME else "…"
    room = limit - len(between)
    first = _fitting(whole[:room], room - room // 2)
    last = _fitting(reversed(whole[-room:]), room // 2)
    return "".join([*first, between, *reversed(last)])


def _fitting(characters: Iterable[str], room: int) -> list[str]:
    """Return the first characters that fit, as they are shown, with no escape cut."""
    parts: list[str] = []
    for character in characters:
        room -= len(visible(character))
        if room < 0:
            break
        parts.append(visible(character))
    return parts
