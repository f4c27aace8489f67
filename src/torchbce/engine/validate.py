"""Check the arguments of a call once and make them a `LossCall`.

Where torch refuses something, so does torchbce: the same exception type, torch's own sentence first, then what was
received and what to write instead.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from torchbce.engine.call import LossCall, TargetTransform, Weight
from torchbce.engine.options import NORMALIZERS, REDUCTIONS, Normalize, Normalizer, Options, Reduction
from torchbce.formula.loss import Loss


def validated(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    parameters: tuple[Weight, ...],
    weight: Weight,
    reduction: Reduction,
    result_dtype: torch.dtype,
    mask: Tensor | None,
    options: Options,
) -> LossCall:
    """Return the record of a call on two tensors of dtypes that fit, without its denominator."""
    num_classes = options.get("num_classes")
    class_dim = _class_dim(input, target, options.get("class_dim"), num_classes)
    if class_dim is not None:
        weight = _along(class_dim, "weight", weight, input)
        named = zip(loss.parameters, parameters, strict=True)
        parameters = tuple(_along(class_dim, name, given, input) for name, given in named)
    if weight is not None:
        check_weight("weight", weight, input)
    for name, given in zip(loss.parameters, parameters, strict=True):
        if given is not None:
            check_weight(name, given, input)
    return LossCall(
        loss=loss,
        parameters=parameters,
        weight=weight,
        reduction=reduction,
        result_dtype=result_dtype,
        checked=checked(options, loss),
        target_transform=target_transform(options) if options else None,
        ignored=ignored(options),
        mask=None if mask is None else _mask(mask, input),
        class_dim=None if num_classes is None else class_dim,
    )


def check_call(
    input: object, target: object, size_average: bool | None, reduce: bool | None, reduction: str
) -> Reduction:
    """Return the reduction of a call, checking that its two tensors are on one device."""
    if not (type(input) is Tensor and type(target) is Tensor and input.is_cpu and target.is_cpu):
        check_tensors(input=input, target=target)
    if reduction in REDUCTIONS and size_average is None and reduce is None:
        return reduction
    return resolve_reduction(size_average, reduce, reduction)


def resolve_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> Reduction:
    """Return the reduction, from torch's two deprecated flags where given, else from its name."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=5,
        )
    return reduction_named(reduction)


def reduction_named(reduction: str) -> Reduction:
    """Return a checked reduction."""
    for known in REDUCTIONS:
        if reduction == known:
            return known
    raise ValueError(f"{reduction} is not a valid value for reduction; it is one of {', '.join(map(repr, REDUCTIONS))}")


def checked_normalize(normalize: Normalize, reduction: Reduction = "mean") -> Normalizer | float | Tensor:
    """Return what a mean is divided by: a name, a number, or a tensor as 0-d float64."""
    if reduction != "mean" and not (isinstance(normalize, str) and normalize == "numel"):
        raise ValueError(f"normalize is what reduction='mean' divides by; with reduction={reduction!r} it has no use")
    if isinstance(normalize, str):
        if normalize in NORMALIZERS:
            return normalize
        raise ValueError(f"normalize is {normalize!r}; it is 'numel', 'valid', 'weight', 'batch', a number or a tensor")
    if not isinstance(normalize, Tensor):
        return number("normalize", normalize)
    if normalize.numel() != 1 or normalize.requires_grad:
        raise ValueError(f"normalize is one number without requires_grad, got a tensor of {tuple(normalize.shape)}")
    return normalize.detach().reshape(()).to(dtype=torch.float64)


def check_tensors(**tensors: object) -> None:
    """Raise unless input and target are tensors on one device."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}; write torch.as_tensor({name})")
        if isinstance(value, torch.masked.MaskedTensor):  # which lacks most of torch's operations, this loss too
            raise TypeError(f"{name} is a MaskedTensor; pass {name}.get_data(), and mask={name}.get_mask()")
    first, *others = (value for value in tensors.values() if isinstance(value, Tensor))
    if all(other.device == first.device for other in others):
        return
    devices = {name: value.device for name, value in tensors.items() if isinstance(value, Tensor)}
    places = " and ".join(f"{name} on {device}" for name, device in devices.items())
    raise RuntimeError(f"Expected all tensors to be on the same device, but found {places}; move one with .to()")


def number(name: str, value: object) -> float:
    """Return a plain number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    return float(value)


def check_weight(name: str, weight: object, target: Tensor) -> None:
    """Check `weight` or `pos_weight`: a number, or a constant tensor that broadcasts to the target."""
    if (
        type(weight) is Tensor
        and not weight.requires_grad
        and weight.device == target.device
        and (weight.ndim == 0 or weight.size() == target.size()[-weight.ndim :])
    ):
        return  # the common case first
    if weight is None or (isinstance(weight, int | float) and not isinstance(weight, bool)):
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must be a Tensor, a number or None, got {type(weight).__name__}")
    if weight.requires_grad:
        raise RuntimeError(
            f"The loss is not differentiable with respect to argument '{name}'. This input cannot have requires_grad "
            f"True; pass {name}.detach()"
        )
    if weight.ndim:
        check_tensors(target=target, **{name: weight})
    # Size by size from the last dimension, as broadcasting goes; the target must not have to grow.
    tail = target.shape[target.ndim - weight.ndim :] if weight.ndim <= target.ndim else ()
    if weight.ndim > target.ndim or any(w not in (1, t) for w, t in zip(weight.shape, tail, strict=True)):
        raise RuntimeError(
            f"{name} of shape {tuple(weight.shape)} does not broadcast to the target of shape {tuple(target.shape)}; "
            f"each of its sizes, counted from the last, must be 1 or the target's{_class_advice(weight, target)}"
        )


def _class_advice(weight: Tensor, target: Tensor) -> str:
    """Return advice where a weight per class lies along another dimension than the last."""
    dims = [dim for dim in range(target.ndim) if weight.ndim == 1 and target.size(dim) == weight.numel()]
    return f": pass class_dim={dims[0]} if these are its classes" if dims else ""


def refuse_dtype(error: Callable[[str], Exception], message: str, **tensors: Tensor) -> NoReturn:
    """Raise for a dtype that no loss is defined for."""
    received = ", ".join(f"{name} is {tensor.dtype}" for name, tensor in tensors.items())
    raise error(f"{message}; {received}")


def checked(options: Options, loss: Loss) -> bool:
    """Return whether values are to be checked."""
    validate, default = options.get("validate"), loss.checks_input
    if validate is None:
        return default or options.get("num_classes") is not None
    if validate not in ("none", "raise"):
        raise ValueError(f"validate is {validate!r}; it is 'none' or 'raise'")
    if default and validate == "none":
        raise ValueError("probabilities are always checked, as that costs nothing; validate='none' is for logits")
    return validate == "raise" or options.get("num_classes") is not None


def _class_dim(input: Tensor, target: Tensor, dim: int | None, classes: int | None) -> int | None:
    """Return the input's class dimension, if one is requested, with the shapes checked."""
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
    """Return a vector of one value per class, laid along the dimension of the classes."""
    if not isinstance(weight, Tensor) or weight.ndim != 1 or weight.numel() == 1:
        return weight
    if weight.numel() != input.size(dim):
        raise RuntimeError(
            f"{name} has {weight.numel()} values; input of shape {tuple(input.shape)} has {input.size(dim)} classes "
            f"in dimension {dim}"
        )
    return weight.reshape(-1, *(1,) * (input.ndim - dim - 1))


def target_transform(options: Options) -> TargetTransform | None:
    """Return the change of targets by threshold and label smoothing."""
    smoothing = number("label_smoothing", options.get("label_smoothing", 0.0))
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing is {smoothing:g}; it lies in [0, 1]: targets become y (1 - s) + s / 2")
    threshold = options.get("target_threshold")
    above = math.nan if threshold is None else number("target_threshold", threshold)
    if smoothing == 0 and math.isnan(above):
        return None
    return TargetTransform(above, 1 - smoothing, smoothing / (options.get("num_classes") or 2))


def ignored(options: Options) -> float | None:
    """Return the target of items that do not count."""
    value = options.get("ignore_index")
    return None if value is None else number("ignore_index", value)


def _mask(mask: Tensor, input: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        received = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a Tensor of torch.bool, True where an item counts, got {received}")
    check_weight("mask", mask, input)
    return mask
