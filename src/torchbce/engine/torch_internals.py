"""Every private name of torch that torchbce uses, looked up once at import.

Results do not depend on any of them. If this torch lacks one, `MISSING` names it and every call takes the reference.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

_absent: list[str] = []


def _find(name: str) -> Any:
    try:
        return operator.attrgetter(name)(torch)
    except AttributeError:
        _absent.append(f"torch.{name}")
        return None


_transforms_active = _find("_C._are_functorch_transforms_active")
_dispatch_modes = _find("_C._len_torch_dispatch_stack")
_is_tracing = _find("_C._is_tracing")
_is_wrapped = _find("_C._functorch.is_functorch_wrapped_tensor")
_unwrap = _find("_C._functorch.get_unwrapped")
_is_legacy_batch = _find("_C._functorch.is_legacy_batchedtensor")
_interpreter_stack = _find("_C._functorch.get_interpreter_stack")
_functionalize = _find("_C._functorch.TransformType.Functionalize")
_set_forward_mode = _find("autograd.forward_ad._set_fwd_grad_enabled")
_find("autograd.forward_ad._current_level")  # read anew each time, as it changes
_find("_C._FunctionBase.apply")
_keys = _find("_C.DispatchKey")
_key_set = _find("_C.DispatchKeySet")
_without_keys = _find("_C._ExcludeDispatchKeyGuard")
_assert_async = _find("_assert_async")

MISSING: str | None = f"this torch lacks {', '.join(_absent)}" if _absent else None
PLAIN_TYPES = {Tensor, torch.nn.Parameter}


def transforms_active() -> bool:
    """Return whether torch.func transforms the call; True where that cannot be known."""
    return True if _transforms_active is None else _transforms_active()


def forward_mode_active() -> bool:
    """Return whether forward-mode differentiation is active; True where that cannot be known."""
    return getattr(forward_ad, "_current_level", 0) >= 0


def is_tracing() -> bool:
    """Return whether `torch.jit.trace` records operations."""
    return _is_tracing is not None and _is_tracing()


def unwatched() -> bool:
    """Return whether no transform, mode or tracer is active, so that a kernel may replace torch's operations."""
    return MISSING is None and not (
        _transforms_active() or forward_ad._current_level >= 0 or _dispatch_modes() or _is_tracing()
    )


def watcher() -> str | None:
    """Return the name of the active transform, mode or tracer, or None."""
    if MISSING is not None:
        return MISSING
    if transforms_active():
        return "a torch.func transform is active"
    if forward_mode_active():
        return "forward-mode differentiation is active"
    if not unwatched():
        return "a dispatch mode or tracer watches torch operations"
    return None


def gradients_are_transformed(grad_output: Tensor) -> bool:
    """Return whether a backward pass is transformed: by torch.func, forward mode, or many gradients at once."""
    if _is_legacy_batch is None or transforms_active() or forward_mode_active():
        return True
    return _is_legacy_batch(grad_output)  # type: ignore[no-any-return]


def custom_derivatives_work() -> bool:
    """Return whether a function with its own backward may run here: not in `functionalize` or `jit.trace`."""
    if is_tracing() or (_set_forward_mode is None and forward_mode_active()):
        return False
    if _interpreter_stack is None or _functionalize is None:
        return True
    return all(level.key() != _functionalize for level in _interpreter_stack() or ())


def forward_mode_on() -> contextlib.AbstractContextManager[object]:
    """Switch forward mode on, which torch switches off in `jvp`: a second forward derivative would silently be 0."""
    return _set_forward_mode(True)  # type: ignore[no-any-return]


# Dispatch keys of an operation that runs before torch.func's transforms unwrap its arguments, and after them.
BEFORE_TRANSFORMS, AFTER_TRANSFORMS = "FuncTorchDynamicLayerFrontMode", "FuncTorchDynamicLayerBackMode"


def assert_all(allowed: Tensor, message: str) -> None:
    """Raise unless all are True: at once on a CPU, later on a GPU, without waiting for it."""
    _assert_async(allowed.all(), message)


def assert_all_beneath(allowed: Tensor, message: str) -> None:
    """Assert beneath the transforms, for a whole batch, as vmap has no rule for assertions."""
    transforms = _key_set(getattr(_keys, BEFORE_TRANSFORMS)).add(getattr(_keys, AFTER_TRANSFORMS))
    with _without_keys(transforms):
        assert_all(unwrapped(allowed), message)


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor out of torch.func's wrappers."""
    while _is_wrapped(tensor):
        tensor = _unwrap(tensor)
    return tensor


def fast_apply(function: type[Function]) -> Any:
    """Return `function.apply` without its Python part, which serves torch.func only."""
    if "torch._C._FunctionBase.apply" in _absent:
        return function.apply
    return super(Function, function).apply  # type: ignore[misc]


def readable(tensor: Tensor) -> Tensor | None:
    """Return the tensor out of torch.func's wrappers if its values can be read, else None."""
    if _is_wrapped is not None and _unwrap is not None:
        tensor = unwrapped(tensor)
    elif transforms_active():
        return None
    plain = type(tensor) in PLAIN_TYPES and not tensor.is_meta
    return tensor.detach() if plain and tensor.numel() and not _is_recorded() else None


def _is_recorded() -> bool:
    """Return whether `make_fx` records operations, for which every value that is read is an error."""
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")
    get_mode = getattr(tracer, "get_proxy_mode", None)
    return bool(get_mode is not None and _dispatch_modes is not None and _dispatch_modes() and get_mode() is not None)


HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
)


def has_hooks(owner: object) -> bool:
    """Return whether a module or optimiser has hooks."""
    return any(getattr(owner, name, None) for name in HOOKS)
