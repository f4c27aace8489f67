"""The versions of what the numbers come from."""

from __future__ import annotations

from importlib.metadata import version

NUMBERS = ("torchbce", "torch", "numba", "numpy")  # whose code makes them
TABLES = ("polars", "scikit-learn")  # and what a table is read and compared by


def versions(*names: str) -> dict[str, str]:
    """Of libraries, by the words for them in messages."""
    return {f"the version of {name}": version(name) for name in names}
