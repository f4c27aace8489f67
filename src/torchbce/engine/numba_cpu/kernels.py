"""The compiled pass of each variant. numba is imported only to compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchbce.engine.numba_cpu.variant import Variant
from torchbce.jit import machine_code

_by_variant: dict[Variant, Any] = {}


def function(variant: Variant) -> Any:
    """Return a variant's machine code, as a C function that runs without the GIL."""
    code = _by_variant.get(variant)
    if code is None:
        code = _by_variant[variant] = _function(variant)
    return code


def _function(variant: Variant) -> Any:
    def to_llvm() -> str:
        from torchbce.engine.numba_cpu.compile import compile_to_llvm  # numba

        return compile_to_llvm(variant)

    return machine_code.compiled(variant.text, to_llvm, Path(__file__).parent)
