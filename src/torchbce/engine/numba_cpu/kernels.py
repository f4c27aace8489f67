"""The compiled pass of each variant. numba is imported only to compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchbce.engine.numba_cpu.variant import Variant
from torchbce.jit import machine_code

# A key has as few fields as its caller needs; a variant has them all.
_by_key: dict[tuple[Any, ...], Any] = {}


def function(key: tuple[Any, ...]) -> Any:
    """The compiled pass of the variant with these fields, as a C function that runs without the GIL."""
    found = _by_key.get(key)
    if found is None:
        found = _by_key[key] = _function(Variant(*key))
    return found


def _function(variant: Variant) -> Any:
    def to_llvm() -> str:
        from torchbce.engine.numba_cpu.compile import compile_to_llvm  # numba

        return compile_to_llvm(variant)

    return machine_code.compiled(variant.text, to_llvm, Path(__file__).parent)
