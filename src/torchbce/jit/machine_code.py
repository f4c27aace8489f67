"""A function in machine code: compiled by numba once, kept on disk, loaded by llvmlite in a few milliseconds.

numba is imported only to compile. A later process finds the object file, which is named after everything that it
depends on: the sources, the versions, the processor and what it is compiled for. Of processes that start together one
compiles a function, and the others wait for its file. One that was damaged is compiled again; where there is no folder
(see `cache`), every process compiles for itself.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import binding as llvm

from torchbce.formula import binding, elementary
from torchbce.jit import cache, waiting

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# numba's functions return a status and take two places more, for a result and an error; a pass has neither.
PLAIN_FUNCTION = """
define void @{name}(ptr %arguments) {{
  %nothing = alloca i64
  %status = call i32 @{inner}(ptr %nothing, ptr %nothing, ptr %arguments)
  ret void
}}
"""

_by_text: dict[str, Any] = {}
_compiling, _loading = threading.RLock(), threading.RLock()  # taken in this order; loading waits for no compiler


def _hold() -> None:
    """Make a fork wait for whoever compiles: in the child, nobody would release the locks, nor numba's."""
    _compiling.acquire()
    _loading.acquire()


def _let_go() -> None:
    _loading.release()
    _compiling.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)


def folder() -> Path | None:
    """Return the folder for machine code: `TORCHBCE_CACHE`, or the user's cache folder; None without one."""
    return cache.folder(os.environ.get("TORCHBCE_CACHE"))


def compiled(text: str, to_llvm: Callable[[], str], sources: Path) -> Any:
    """Return the C function that `to_llvm` writes in LLVM's language, compiled once for each `text`.

    text: names the function and what it is compiled for; sources: the folder of the code that it is made of.
    """
    if text in _by_text:
        return _by_text[text]
    digest = hashlib.sha256(f"{_environment(sources)} {text}".encode()).hexdigest()[:32]
    name, cache_folder = f"torchbce_{digest}", folder()
    file = None if cache_folder is None else cache_folder / f"{digest}.kernel"
    code = None if file is None else cache.read(file)
    if code is not None:
        return _loaded(text, name, code)
    with waiting.said_if_long(), _compiling:
        if text in _by_text:  # compiled by another thread meanwhile
            return _by_text[text]
        if file is None:
            return _loaded(text, name, _compile(to_llvm, name))
        with cache.made_once(file):
            code = cache.read(file)
            if code is None:  # and not compiled by another process meanwhile
                code = _compile(to_llvm, name)
                cache.write(file, code)
        return _loaded(text, name, code)


def _loaded(text: str, name: str, code: bytes) -> Any:
    with _loading:
        if text not in _by_text:
            _by_text[text] = _load(name, code)
        return _by_text[text]


@functools.cache
def _environment(sources: Path) -> str:
    """Return what machine code depends on, besides what it is compiled for."""
    here = Path(__file__).parent
    files = [
        Path(binding.__file__),
        Path(elementary.__file__),
        *sorted(here.glob("*.py")),
        *sorted(sources.rglob("*.py")),
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("numba", "llvmlite")]
    features = llvm.get_host_cpu_features().flatten()
    return " ".join([digest.hexdigest(), *versions, llvm.get_process_triple(), llvm.get_host_cpu_name(), features])


def _compile(to_llvm: Callable[[], str], name: str) -> bytes:
    text = to_llvm()
    (inner,) = (function.name for function in llvm.parse_assembly(text).functions if not function.is_declaration)
    module = llvm.parse_assembly(text + PLAIN_FUNCTION.format(name=name, inner=inner))
    module.verify()
    return _target().emit_object(module)  # type: ignore[no-any-return]


def _target() -> Any:
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
        codemodel="small",
    )


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _engine() -> Any:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target(), use_lmm=True)


def _load(name: str, code: bytes) -> Callable[[int], None]:
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return FUNCTION(engine.get_function_address(name))
