"""Finding a compiled node that fits this torch and Python, in the cache folder or in an installed package."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import warnings
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

from torchbce.engine.cpp_node.build import NAME, identity, is_whole
from torchbce.engine.cpp_node.plan import Plans
from torchbce.engine.numba_cpu import threads
from torchbce.jit import machine_code

PACKAGE = "torchbce_node_prebuilt"  # what the release builds


@functools.cache
def node() -> Plans | None:
    """What a compiled node offers, or None where there is none; TORCHBCE_NODE=0 does without."""
    if os.environ.get("TORCHBCE_NODE", "1") == "0":
        return None
    file = _file()
    if file is None:
        return None
    loader = ExtensionFileLoader(NAME, str(file))
    spec = importlib.util.spec_from_file_location(NAME, file, loader=loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except ImportError as error:
        warnings.warn(
            f"{file} cannot be loaded ({error}); losses work without it, small calls take longer. "
            "`torchbce build` compiles it anew",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    parallel = threads.openmp()
    if parallel is not None:
        module.set_parallel(ctypes.cast(parallel, ctypes.c_void_p).value)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: module.set_parallel(0))
    return Plans(module)


def _file() -> Path | None:
    name = f"{identity()}.so"
    folder = machine_code.folder()
    if folder is not None and is_whole(folder / name):
        return folder / name
    package = importlib.util.find_spec(PACKAGE)
    places = [] if package is None else package.submodule_search_locations or []
    return next((file for place in places if (file := Path(place) / name).exists()), None)
