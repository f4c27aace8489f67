"""The errors that speak to a user about what they gave: a file, a column, a folder."""

from __future__ import annotations

from torchbce.common.visible import MESSAGE, shown, visible

__all__ = ["InputError", "OutputError", "RunFolderError"]

SLACK = 500  # characters that an error may add to another without cutting it anew


class InputError(ValueError):
    """Something given cannot be used. The message says what was wrong, where, and what to do."""

    def __init__(self, message: object = "") -> None:
        super().__init__(_safe(message))


class RunFolderError(InputError):
    """A run folder is missing, damaged or was not written by torchbce."""


class BuildError(RuntimeError):
    """The node cannot be compiled. Everything works without it."""


class OutputError(OSError):
    """The results cannot be written. Nothing half-written is left behind."""

    def __init__(self, message: object = "") -> None:
        super().__init__(_safe(message))


def _safe(message: object) -> str:
    """Return the message in one line, cut where it holds a cell of a million characters."""
    text = visible(str(message))
    return text if len(text) <= MESSAGE + SLACK else shown(message, MESSAGE)
