"""Docstrings of properties such as "The epoch that was chosen: ...", of which napoleon would make a type and a text."""

from __future__ import annotations

import inspect
from typing import Any

AFTER_NAPOLEON = 501


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", as_written, priority=AFTER_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_written(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    written = inspect.getdoc(thing) or ""
    if kind == "property" and any(line.startswith(":type:") for line in lines) and "\n\n" not in written:
        lines[:] = [*written.splitlines(), ""]
