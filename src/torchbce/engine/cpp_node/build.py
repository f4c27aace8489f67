"""Compiling the node with the user's own compiler, once for each torch and Python."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from torchbce.common.errors import BuildError
from torchbce.engine.numba_cpu import arguments, buffers, launch, variant
from torchbce.formula.powers import PRODUCTS
from torchbce.jit import cache, machine_code

NAME = "torchbce_node"
SOURCES = sorted(file for file in Path(__file__).parent.iterdir() if file.suffix in (".cpp", ".h"))


def identity() -> str:
    """Names a compiled node after everything that it has to fit."""
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(source.read_bytes())
    version = torch.__version__.split("+")[0]  # what follows says which devices it is built for
    fits = sys.implementation.cache_tag, EXTENSION_SUFFIXES[0], version, torch.version.git_version
    digest.update(" ".join([*_macros(), *map(str, fits), platform.machine()]).encode())
    return digest.hexdigest()[:32]


def build() -> Path:
    """Compile the node into the cache folder, where every later process finds it; at once where it is there.

    Raises:
        BuildError: there is no folder, no compiler or no ninja, or the compiler refuses.
    """
    folder = machine_code.folder()
    if folder is None:
        raise BuildError("there is no folder to keep it in: set TORCHBCE_CACHE to one that only you may write")
    file = folder / f"{identity()}.so"
    if is_whole(file):
        return file
    with cache.made_once(file):
        if not is_whole(file):  # and not built by another process meanwhile
            content = compiled()
            cache.put(file, content)
            cache.write(file.with_suffix(".sum"), hashlib.sha256(content).digest())
    if not is_whole(file):
        raise BuildError(f"{file} cannot be written")
    return file


def is_whole(file: Path) -> bool:
    """Whether a library is there as it was built, and our own."""
    content, digest = cache.owned(file), cache.read(file.with_suffix(".sum"))
    return content is not None and digest == hashlib.sha256(content).digest()


def compiled() -> bytes:
    """The node as a shared library."""
    from torch.utils import cpp_extension

    before = os.environ.get("PATH", "")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])  # ninja lies beside python
        try:
            cpp_extension.load(
                NAME,
                [str(source) for source in SOURCES if source.suffix == ".cpp"],
                extra_cflags=["-O2", *_macros()],
                build_directory=folder,
                is_python_module=False,
            )
        except (RuntimeError, OSError) as error:
            raise BuildError(f"the node cannot be compiled, and everything works without it: {error}") from error
        finally:
            os.environ["PATH"] = before
        (library,) = (file for file in Path(folder).iterdir() if file.suffix in (".so", ".pyd", ".dylib"))
        return library.read_bytes()


def _macros() -> list[str]:
    """What the sources take from Python's."""
    values = {f"AT_{name.upper()}": place for name, place in arguments.AT._asdict().items()}
    values |= {
        "PARAMETERS": arguments.PARAMETERS,
        "CHUNK": variant.CHUNK,
        "PIECE": launch.PIECE,
        "SLICE": launch.SLICE,
        "LEAST": buffers.LEAST,
        "LARGEST_PRODUCT": int(max(PRODUCTS)),
    }
    return [f"-DTORCHBCE_{name}={value}" for name, value in values.items()]
