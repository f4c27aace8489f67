"""The errors that speak to a user about what they gave: a file, a column, a folder."""

from __future__ import annotations

__all__ = ["InputError", "OutputError", "RunFolderError"]


class InputError(ValueError):
    """Something given cannot be used. The message says what was wrong, where, and what to do."""


class RunFolderError(InputError):
    """A run folder is missing, damaged or was not written by torchbce."""


class BuildError(RuntimeError):
    """The node cannot be compiled. Everything works without it."""


class OutputError(OSError):
    """The results cannot be written. Nothing half-written is left behind."""
