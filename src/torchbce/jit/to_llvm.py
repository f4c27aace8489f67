"""From Python loops to LLVM's language, by numba.

A loop calls some forty small functions. numba by itself optimises each, and makes machine code of it, with all that it
calls in it: so what is called four levels down is compiled five times. Here a function that others call is translated
and no more; the loop is optimised once, with all of them in it, and `machine_code` makes machine code of that.

The classes of numba that this changes are documented for passes of one's own, and not for libraries of one's own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.options import DefaultOptions
from numba.core.typed_passes import NativeLowering

# `contract` lets a * b + c be one instruction. No flag that assumes away NaN, infinity or the order of additions.
FAST = {"contract"}
# Called from compiled code alone: what Python and C would call them by takes half of the time of compiling.
# numba may drop such options: they are no part of its documented interface.
PRIVATE = ("no_cpython_wrapper", "no_cfunc_wrapper", "forceinline")
INLINED: Any = {name: True for name in PRIVATE if hasattr(DefaultOptions, name)}
ALONE: Any = {name: True for name in INLINED if name != "forceinline"}
Function = TypeVar("Function", bound=Callable[..., Any])


class Optimized(JITCodeLibrary):
    """A module that is optimised, and not made machine code."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


class Translated(Optimized):
    """A module that waits to be optimised with what calls it."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass


class _Lowering(NativeLowering):
    library: type[JITCodeLibrary]

    def run_pass(self, state: Any) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        # Callers find a function by its Python counterpart, which has to be a builtin, is never called, and is this.
        state.cr = state.cr._replace(cfunc=[].append)
        state.targetctx.insert_user_function(state.cr.cfunc, state.cr.fndesc, [state.library])
        state.library.finalize()
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Optimizing(_Lowering):
    _name: Any = "torchbce_optimizing"
    library = Optimized


@register_pass(mutates_CFG=True, analysis_only=False)
class _Translating(_Lowering):
    _name: Any = "torchbce_translating"
    library = Translated


class _Compiler(CompilerBase):
    lowering: type[_Lowering]

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (self.lowering if one_pass is NativeLowering else one_pass, name) for one_pass, name in passes.passes
        ]
        passes.finalize()
        return [passes]


class _CompilerOfLoops(_Compiler):
    lowering = _Optimizing


class _CompilerOfParts(_Compiler):
    lowering = _Translating


inlined: Callable[[Function], Function] = njit(
    error_model="numpy", fastmath=FAST, pipeline_class=_CompilerOfParts, **INLINED
)


def to_llvm(loop: Callable[..., None], fastmath: set[str] = FAST) -> str:
    """Return a function of one address, as optimised LLVM code; it may call what is `inlined`.

    fastmath: LLVM's flags of what it may do to floating-point operations in the loop itself.
    """
    function: Any = njit(error_model="numpy", fastmath=fastmath, pipeline_class=_CompilerOfLoops, **ALONE)(loop)
    with _without_collector():
        function.compile(types.void(types.CPointer(types.int64)))
    return str(function.inspect_llvm(function.signatures[0]))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Compiling makes a million objects: the collector would look through all of a process's, many times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
