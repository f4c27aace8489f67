"""The extension of the documentation."""

from __future__ import annotations

import importlib.util

from root import ROOT


def extension(name: str):
    """A module of docs/_ext."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
