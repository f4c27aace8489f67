"""What a page of the reference has entries of; without Sphinx, so that the tests can ask too."""

from __future__ import annotations

import importlib
import re

ENTRY = re.compile(r"^\.\. (py:currentmodule|auto(?:function|class|exception|module)):: (\S+)((?:\n   :\S.*)*)", re.M)


def entries(page: str) -> list[str]:
    """Full names of a page's entries, in its order; of a module whose members are shown, all public ones."""
    found, module = [], ""
    for kind, name, options in ENTRY.findall(page):
        if kind == "py:currentmodule":
            module = name
        elif kind != "automodule":
            found.append(name if name.startswith("torchbce.") else f"{module}.{name}")
        elif ":members:" in options:
            found += [f"{name}.{member}" for member in importlib.import_module(name).__all__]
    return found
