"""Compute a loss function's value from its arguments: validate, compute, lay out."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from torchbce.engine import select
from torchbce.engine.autograd import compute, compute_by, count
from torchbce.engine.call import LossCall, Weight
from torchbce.engine.layout import is_dense
from torchbce.engine.options import REDUCTIONS, Normalize, Options, Reduction
from torchbce.engine.overrides import has_torch_function_variadic
from torchbce.engine.validate import check_call, checked_normalize, refuse_dtype, validated
from torchbce.formula.loss import Loss

HALVES = {torch.float16, torch.bfloat16}


def quick(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    parameters: tuple[Weight, ...],
    weight: Weight,
    reduction: str,
    options: Options,
) -> Tensor | None:
    """Return the value of a call with common arguments; None for any other call.

    As few steps as possible, since small batches cost mostly overhead.
    """
    if torch.compiler.is_compiling():  # first, as torch.compile does not trace the rest
        return None
    node = select.node()
    if node is not None:
        number = node.number_of(loss, reduction, options)
        return None if number < 0 else node.call(number, input, target, weight, *parameters)
    if options or has_torch_function_variadic(input, target) or not select.takes_fast_path(input, target):
        return None
    if input.size() != target.size() or reduction not in REDUCTIONS:
        return None
    plain = weight is None
    for given in parameters:
        plain = plain and given is None
    if plain:
        return compute_by(select.cpu(), input, target, _plain_call(loss, reduction))
    for given in (weight, *parameters):
        if given is not None and not _is_simple(given, input):
            return None
    call = LossCall(loss, parameters, weight, reduction, torch.float32, loss.checks_input)
    return compute_by(select.cpu(), input, target, call)


def _is_simple(weight: Weight, input: Tensor) -> bool:
    """Return whether a weight is a number, or float32 memory that repeats along a contiguous input's items."""
    if type(weight) is not Tensor:
        return type(weight) is float
    return (
        select.is_dense_float32(weight)
        and not weight.requires_grad
        and (weight.ndim == 0 or weight.size() == input.size()[-weight.ndim :])
    )


@functools.cache
def _plain_call(loss: Loss, reduction: Reduction) -> LossCall:
    return LossCall(
        loss=loss,
        parameters=(None,) * len(loss.parameters),
        weight=None,
        reduction=reduction,
        result_dtype=torch.float32,
        checked=loss.checks_input,
        plain=True,
    )


def compute_loss(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    parameters: tuple[Weight, ...],
    weight: Weight,
    reduction: str,
    mask: Tensor | None,
    options: Options,
) -> Tensor:
    """Return the value of any loss but torch's own two, whose errors for dtypes and shapes are worded as torch's.

    The names of the options have been checked by the loss.

    Raises:
        TypeError: input or target is not a tensor, an option is not a number.
        ValueError: the shapes differ, an unknown reduction or normaliser.
        RuntimeError: an input that is not floating point, a weight that does not broadcast or requires grad.
    """
    if mask is None:
        value = quick(loss, input, target, parameters, weight, reduction, options)
        if value is not None:
            return value
    mode = check_call(input, target, None, None, reduction)
    check_sizes(input, target, options)
    input, target = autocast(input), autocast(target)
    if not input.is_floating_point() or target.is_complex():
        refuse_dtype(
            RuntimeError, f"{loss.name} needs a floating-point input and a real target", input=input, target=target
        )
    result_dtype = torch.promote_types(input.dtype, target.dtype) if target.is_floating_point() else input.dtype
    call = validated(loss, input, target, parameters, weight, mode, result_dtype, mask, options)
    return compute_call(input, target, call, options.get("normalize"))


def compute_call(input: Tensor, target: Tensor, call: LossCall, normalize: Normalize | None) -> Tensor:
    """Return the loss of two tensors whose dtypes fit."""
    if normalize is not None:
        call = call._replace(denominator=_denominator(input, target, call, normalize))
    value = compute(input, target, call)
    if call.reduction != "none":
        return value
    return with_strides_of(input if call.loss.checks_input or call.class_dim is not None else target, value)


def check_sizes(input: Tensor, target: Tensor, options: Options) -> None:
    """Raise unless input and target have one shape, class numbers aside."""
    if options.get("num_classes") is None and target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
            f"{reshape_advice(input, target)}"
        )


def _denominator(input: Tensor, target: Tensor, call: LossCall, normalize: Normalize) -> Tensor | float | None:
    """Return the denominator of a mean; None is the number of items."""
    normalize = checked_normalize(normalize, call.reduction)
    if isinstance(normalize, Tensor):
        return normalize.to(device=input.device)
    if normalize == "numel":
        return None
    if normalize == "batch":
        return float(input.size(0)) if input.ndim else 1.0
    if not isinstance(normalize, str):
        return normalize
    weight = call.weight if normalize == "weight" else None
    if call.ignored is None and call.mask is None:
        if not isinstance(weight, Tensor):
            return None if weight is None else weight * input.numel()
        return weight.sum(dtype=torch.float64) * (input.numel() / max(1, weight.numel()))
    return count(input, target, call._replace(weight=weight))


def with_strides_of(like: Tensor, result: Tensor) -> Tensor:
    """Return the item losses in torch's memory layout, which broadcasting may have changed."""
    if result.stride() == like.stride() or (result.is_contiguous() and not is_dense(like)):
        return result
    strides = torch.empty_like(like, device="meta", requires_grad=False).stride()
    # New memory of the result's kind: under vmap `like` may lack the batch that another argument brought.
    return result if strides == result.stride() else result.new_empty_strided(result.size(), strides).copy_(result)


def autocast(tensor: Tensor) -> Tensor:
    """Cast to float32 under autocast, on every device (torch refuses probabilities on CUDA)."""
    return tensor.float() if tensor.dtype in HALVES and is_autocast(tensor) else tensor


def is_autocast(tensor: Tensor) -> bool:
    """Return whether autocast is on for a tensor's device; some, such as "meta", do not know it."""
    device = tensor.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def reshape_advice(input: Tensor, target: Tensor) -> str:
    """Return advice where only the shapes differ."""
    if input.numel() == target.numel():
        return f" Both have {input.numel()} items: write target.reshape(input.shape)."
    return ""
