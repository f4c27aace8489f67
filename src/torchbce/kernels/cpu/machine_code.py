"""Passes as machine code: compiled by numba once, kept on disk, loaded by llvmlite in a few milliseconds.

numba is imported only to compile. A later process finds the object file, which is named after everything that it
depends on: the sources, the versions, the processor and the variant. A file that was damaged is compiled again; where
the folder cannot be written, every process compiles for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from llvmlite import binding as llvm

from torchbce.formulas import binding
from torchbce.kernels import elementary
from torchbce.kernels.cpu.variant import Variant

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# numba's functions return a status and take two places more, for a result and an error; a pass has neither.
PLAIN_FUNCTION = """
define void @{name}(ptr %arguments) {{
  %nothing = alloca i64
  %status = call i32 @{inner}(ptr %nothing, ptr %nothing, ptr %arguments)
  ret void
}}
"""

_lock = threading.Lock()
_loaded: dict[tuple[Any, ...], Any] = {}


def function(key: tuple[Any, ...]) -> Any:
    """The compiled pass of the variant with these fields, as a C function that runs without the GIL."""
    found = _loaded.get(key)
    if found is not None:
        return found
    variant = Variant(*key)
    with _lock:
        if variant not in _loaded:
            _loaded[variant] = _load(*_object_code(variant))
        return _loaded[variant]


def folder() -> Path:
    """Where machine code is kept: `TORCHBCE_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("TORCHBCE_CACHE") or platformdirs.user_cache_path("torchbce"))


def _object_code(variant: Variant) -> tuple[str, bytes]:
    """The function's name, which is the variant's own, and the object file that has it."""
    digest = hashlib.sha256(f"{_environment()} {variant.text}".encode()).hexdigest()[:32]
    name, file = f"torchbce_{digest}", folder() / f"{digest}.kernel"
    code = _read(file)
    if code is None:
        code = _compile(variant, name)
        _write(file, code)
    return name, code


@functools.cache
def _environment() -> str:
    sources = [Path(binding.__file__), Path(elementary.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("numba", "llvmlite")]
    features = llvm.get_host_cpu_features().flatten()
    return " ".join([digest.hexdigest(), *versions, llvm.get_process_triple(), llvm.get_host_cpu_name(), features])


def _read(file: Path) -> bytes | None:
    """The content, if it is there and whole."""
    try:
        stored = file.read_bytes()
    except OSError:
        return None
    digest, content = stored[:32], stored[32:]
    return content if digest == hashlib.sha256(content).digest() else None


def _write(file: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):  # not being able to keep it is allowed
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise


def _compile(variant: Variant, name: str) -> bytes:
    from torchbce.kernels.cpu.passes import compile_to_llvm  # numba

    text = compile_to_llvm(variant)
    (inner,) = (function.name for function in llvm.parse_assembly(text).functions if not function.is_declaration)
    module = llvm.parse_assembly(text + PLAIN_FUNCTION.format(name=name, inner=inner))
    module.verify()
    return _target().emit_object(module)  # type: ignore[no-any-return]


def _target() -> Any:
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _engine() -> Any:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())


def _load(name: str, code: bytes) -> Callable[[int], None]:
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return FUNCTION(engine.get_function_address(name))
