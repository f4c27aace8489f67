"""From what a user asks of a loss to its value: options are checked, made into a `Call`, and computed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce import options
from torchbce.autograd import compute, count
from torchbce.call import Call, Labels, Weight
from torchbce.formulas.loss import Loss
from torchbce.options import Normalize, Reduction

HALVES = {torch.float16, torch.bfloat16}


class Asked(NamedTuple):
    """The options that every loss has, with defaults that leave it as torch has it. See `torchbce.functional`."""

    label_smoothing: float = 0.0
    target_threshold: float | None = None
    num_classes: int | None = None
    ignore_index: float | None = None
    mask: Tensor | None = None
    normalize: Normalize = "numel"
    class_dim: int | None = None
    validate: str | None = None

    def changed(self, plain: Asked) -> dict[str, Any]:
        """The options that differ from those of a plain call."""
        both = zip(self._fields, self, plain, strict=True)
        return {name: own for name, own, usual in both if type(own) is not type(usual) or own != usual}


def evaluate(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    parameters: tuple[Weight, ...],
    weight: Weight,
    reduction: Reduction,
    result_dtype: torch.dtype,
    asked: Asked,
) -> Tensor:
    """The loss of tensors that are known to be such, of dtypes that fit; shapes and options are checked here."""
    class_dim = _class_dim(input, target, asked)
    if class_dim is not None:
        weight = _along(class_dim, "weight", weight, input)
        named = zip(loss.parameters, parameters, strict=True)
        parameters = tuple(_along(class_dim, name, given, input) for name, given in named)
    if weight is not None:
        options.check_weight("weight", weight, input)
    for name, given in zip(loss.parameters, parameters, strict=True):
        if given is not None:
            options.check_weight(name, given, input)
    call = Call(
        loss,
        parameters,
        weight,
        reduction,
        result_dtype,
        options.check_validate(asked.validate, loss.checks_input) or asked.num_classes is not None,
        _labels(asked),
        None if asked.ignore_index is None else options.number("ignore_index", asked.ignore_index),
        _mask(asked.mask, input),
        None if asked.num_classes is None else class_dim,
    )
    call = call._replace(denominator=_denominator(input, target, call, asked.normalize))
    result = compute(input, target, call)
    if reduction != "none":
        return result
    return with_strides_of(input if loss.checks_input or call.class_dim is not None else target, result)


def ask(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    parameters: tuple[Weight, ...],
    weight: Weight,
    reduction: str,
    mask: Tensor | None,
    asked: options.Options,
) -> Tensor:
    """A loss of whatever a user passes: the checks that torch's own functions have, for all others.

    Raises:
        TypeError: input or target is no tensor, an option does not exist or is no number.
        ValueError: the shapes differ, an unknown reduction or normaliser.
        RuntimeError: an input that is not floating point, a weight that does not broadcast or requires grad.
    """
    mode = options.check_call(input, target, None, None, reduction)
    options.known(asked, loss.parameters)
    if asked.get("num_classes") is None and target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
            f"{reshape_advice(input, target)}"
        )
    if input.dtype in HALVES or target.dtype in HALVES:
        input, target = autocast(input), autocast(target)
    if not input.is_floating_point() or target.is_complex():
        options.refuse_dtype(
            RuntimeError, f"{loss.name} needs a floating-point input and a real target", input=input, target=target
        )
    result_dtype = torch.promote_types(input.dtype, target.dtype) if target.is_floating_point() else input.dtype
    return evaluate(loss, input, target, parameters, weight, mode, result_dtype, Asked(mask=mask, **asked))


def _class_dim(input: Tensor, target: Tensor, asked: Asked) -> int | None:
    """Which dimension of the input is the class, where that is asked for; with the shapes checked."""
    dim, classes = asked.class_dim, asked.num_classes
    if dim is None:
        if classes is None:
            return None
        dim = 1
    if not -input.ndim <= dim < input.ndim:
        raise ValueError(f"class_dim is {dim}, and input of shape {tuple(input.shape)} has {input.ndim} dimensions")
    dim %= input.ndim
    if classes is not None:
        expected = input.shape[:dim] + input.shape[dim + 1 :]
        if input.size(dim) != classes or target.shape != expected or target.is_floating_point():
            raise ValueError(
                f"num_classes={classes} needs an input with {classes} in dimension {dim}, and a target of integers "
                f"without it; input has the shape {tuple(input.shape)}, target {tuple(target.shape)} of {target.dtype}"
            )
    return dim


def _along(dim: int, name: str, weight: Weight, input: Tensor) -> Weight:
    """A vector of one value per class, laid along the dimension of the classes."""
    if not isinstance(weight, Tensor) or weight.ndim != 1 or weight.numel() == 1:
        return weight
    if weight.numel() != input.size(dim):
        raise RuntimeError(
            f"{name} has {weight.numel()} values; input of shape {tuple(input.shape)} has {input.size(dim)} classes "
            f"in dimension {dim}"
        )
    return weight.reshape(-1, *(1,) * (input.ndim - dim - 1))


def _labels(asked: Asked) -> Labels | None:
    smoothing = options.number("label_smoothing", asked.label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing is {smoothing:g}; it lies in [0, 1]: targets become y (1 - s) + s / 2")
    threshold = (
        math.nan if asked.target_threshold is None else options.number("target_threshold", asked.target_threshold)
    )
    if smoothing == 0 and math.isnan(threshold):
        return None
    return Labels(threshold, 1 - smoothing, smoothing / (asked.num_classes or 2))


def _mask(mask: Tensor | None, input: Tensor) -> Tensor | None:
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        received = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a Tensor of torch.bool, True where an item counts, got {received}")
    options.check_weight("mask", mask, input)
    return mask


def _denominator(input: Tensor, target: Tensor, call: Call, normalize: Normalize | None) -> Tensor | float | None:
    """Of the mean; None is the number of items."""
    if normalize is None or (isinstance(normalize, str) and normalize == "numel"):
        return None  # None from a traced module, whose calls may name another
    if call.reduction != "mean":
        raise ValueError(
            f"normalize is what reduction='mean' divides by; with reduction={call.reduction!r} it has no use"
        )
    if isinstance(normalize, Tensor):
        if normalize.numel() != 1 or normalize.requires_grad:
            raise ValueError(f"normalize is one number without requires_grad, got a tensor of {tuple(normalize.shape)}")
        return normalize.detach().reshape(()).to(device=input.device, dtype=torch.float64)
    if not isinstance(normalize, str):
        return options.number("normalize", normalize)
    if normalize == "batch":
        return float(input.size(0)) if input.ndim else 1.0
    if normalize not in ("valid", "weight"):
        raise ValueError(f"normalize is {normalize!r}; it is 'numel', 'valid', 'weight', 'batch', a number or a tensor")
    weight = call.weight if normalize == "weight" else None
    if call.ignored is None and call.mask is None:
        if not isinstance(weight, Tensor):
            return None if weight is None else weight * input.numel()
        return weight.sum(dtype=torch.float64) * (input.numel() / max(1, weight.numel()))
    return count(input, target, call._replace(weight=weight))


def with_strides_of(like: Tensor, result: Tensor) -> Tensor:
    """The item losses laid out as torch lays them out, which broadcasting of mixed layouts may have changed."""
    if result.stride() == like.stride() or (result.is_contiguous() and not _is_dense(like)):
        return result
    layout = torch.empty_like(like, dtype=result.dtype, requires_grad=False)
    return result if layout.stride() == result.stride() else layout.copy_(result)


def _is_dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)  # type: ignore[no-any-return]


def autocast(tensor: Tensor) -> Tensor:
    """Under autocast losses run in float32, on every device (torch refuses probabilities on CUDA)."""
    if tensor.dtype not in HALVES:
        return tensor
    device = tensor.device.type  # some, such as "meta", know no autocast
    return tensor.float() if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) else tensor


def reshape_advice(input: Tensor, target: Tensor) -> str:
    """What to write where only the shapes differ."""
    if input.numel() == target.numel():
        return f" Both have {input.numel()} items: write target.reshape(input.shape)."
    return ""
