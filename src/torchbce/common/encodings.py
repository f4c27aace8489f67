"""What targets outside [0, 1] are likely to be, by their smallest and largest value, and how they become 0 and 1."""

from __future__ import annotations

_ENCODINGS = {
    (-1.0, 1.0): ("{{-1, 1}}", "({0} + 1) / 2"),
    (0.0, 255.0): ("{{0, 255}}, as in an image", "{0} / 255"),
    (1.0, 2.0): ("{{1, 2}}", "{0} - 1"),
    (0.0, 100.0): ("percentages", "{0} / 100"),
    (0.0, 2.0): ("{{0, 2}}", "{0} / 2"),
}


def encoding(low: float, high: float, name: str = "targets") -> tuple[str, str] | None:
    """(what these look like, what to write with `name`); None where nothing is known."""
    known = _ENCODINGS.get((low, high))
    return None if known is None else (known[0].format(), known[1].format(name))
