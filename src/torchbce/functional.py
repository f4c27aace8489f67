"""Binary cross-entropy as functions, with the signatures of `torch.nn.functional`."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce import options
from torchbce.autograd import Call, compute, usual
from torchbce.formulas import BCE, BCE_WITH_LOGITS

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | float | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Binary cross-entropy between probabilities and targets, in nats.

    For one item, ``-weight * (target * log(input) + (1 - target) * log(1 - input))``, where each logarithm is at least
    -100. ``mean`` divides by the number of items; the weights do not enter the denominator.

    Args:
        input: probabilities in [0, 1], any shape, float16 to float64.
        target: the same shape; in [0, 1] of the input's dtype, or bool or integer (read as it is).
        weight: a number or a tensor that broadcasts to the target.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'`` (one loss per item), ``'mean'`` or ``'sum'``.

    Returns:
        A tensor of the input's dtype (float32 under autocast): 0-d, or of the input's shape and strides for ``'none'``.
        float16 and bfloat16 are computed in float32, sums in float64, and rounded once.

    Raises:
        ValueError: the shapes differ, or the reduction is unknown.
        RuntimeError: a value outside [0, 1] or NaN (checked wherever values can be read, on a GPU with a
            synchronisation); dtypes that do not fit; a weight that does not broadcast or requires grad.

    Example:
        >>> probs = torch.tensor([0.60, 0.20, 0.70])
        >>> binary_cross_entropy(probs, torch.tensor([1, 0, 1]))
        tensor(0.3635)

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html
    """
    if weight is None and size_average is None and reduce is None:
        result = usual(BCE, input, target, reduction)
        if result is not None:
            return result
    mode = options.check_call(input, target, size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            f"deprecated. Please ensure they have the same size.{_reshape_advice(input, target)}"
        )
    if weight is not None:
        options.check_weight("weight", weight, target)
    if input.dtype in HALVES or target.dtype in HALVES:
        input, target = _autocast(input), _autocast(target)
    if not input.is_floating_point():
        options.refuse_dtype(RuntimeError, "binary_cross_entropy needs a floating-point input", input=input)
    if target.dtype != input.dtype and (target.is_floating_point() or target.is_complex()):
        found, expected = _name(target.dtype), _name(input.dtype)
        options.refuse_dtype(
            RuntimeError,
            f"Found dtype {found} but expected {expected}: write target.to(input.dtype)",
            input=input,
            target=target,
        )
    result = compute(input, target, Call(BCE, None, weight, mode, input.dtype))
    return _with_strides_of(input, result) if mode == "none" else result


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | float | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | float | None = None,
) -> Tensor:
    r"""Binary cross-entropy between logits and targets, in nats.

    For one item, with ``p = sigmoid(input)``,
    ``-weight * (pos_weight * target * log(p) + (1 - target) * log(1 - p))``, computed from the logit so that neither
    digits nor infinite logits are lost. ``mean`` divides by the number of items.

    Args:
        input: logits, any shape, float16 to float64.
        target: the same shape; floating point (its range is not checked, as in torch), or bool or integer.
        weight: a number or a tensor that broadcasts to the target.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'`` (one loss per item), ``'mean'`` or ``'sum'``.
        pos_weight: the weight of the positive part, a number or a tensor that broadcasts to the target; the last
            dimension is the class.

    Returns:
        A tensor of the target's dtype, or the input's if the target is bool or integer (float32 under autocast): 0-d,
        or of the target's shape and strides for ``'none'``. float16 and bfloat16 are computed in float32, sums in
        float64, and rounded once.

    Raises:
        ValueError: the shapes differ, or the reduction is unknown.
        RuntimeError: a weight that does not broadcast or requires grad.
        NotImplementedError: an input that is not floating point.

    Example:
        >>> logits = torch.tensor([0.4055, -1.3863, 0.8473])
        >>> binary_cross_entropy_with_logits(logits, torch.tensor([True, False, True]))
        tensor(0.3635)

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html
    """
    if weight is None and pos_weight is None and size_average is None and reduce is None:
        result = usual(BCE_WITH_LOGITS, input, target, reduction)
        if result is not None:
            return result
    mode = options.check_call(input, target, size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
            f"{_reshape_advice(input, target)}"
        )
    if weight is not None:
        options.check_weight("weight", weight, target)
    if pos_weight is not None:
        options.check_weight("pos_weight", pos_weight, target)
    if input.dtype in HALVES or target.dtype in HALVES:
        input, target = _autocast(input), _autocast(target)
    if not input.is_floating_point() or target.is_complex():
        options.refuse_dtype(
            NotImplementedError,
            "binary_cross_entropy_with_logits needs a floating-point input and a real target",
            input=input,
            target=target,
        )
    result_dtype = target.dtype if target.is_floating_point() else input.dtype
    result = compute(input, target, Call(BCE_WITH_LOGITS, pos_weight, weight, mode, result_dtype))
    return _with_strides_of(target, result) if mode == "none" else result


HALVES = {torch.float16, torch.bfloat16}


def _autocast(tensor: Tensor) -> Tensor:
    """Under autocast both losses run in float32, on every device (torch refuses probabilities on CUDA)."""
    if tensor.dtype in HALVES and torch.is_autocast_enabled(tensor.device.type):
        return tensor.float()
    return tensor


def _with_strides_of(like: Tensor, result: Tensor) -> Tensor:
    """The item losses laid out as torch lays them out, which broadcasting of mixed layouts may have changed."""
    if result.stride() == like.stride() or (result.is_contiguous() and not _is_dense(like)):
        return result
    layout = torch.empty_like(like, dtype=result.dtype, requires_grad=False)
    return result if layout.stride() == result.stride() else layout.copy_(result)


def _is_dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)  # type: ignore[no-any-return]


def _name(dtype: torch.dtype) -> str:
    """torch's word for a dtype in its error messages."""
    words = {torch.float16: "Half", torch.bfloat16: "BFloat16", torch.float32: "Float", torch.float64: "Double"}
    return words.get(dtype, str(dtype).removeprefix("torch."))


def _reshape_advice(input: Tensor, target: Tensor) -> str:
    if input.numel() == target.numel():
        return f" Both have {input.numel()} items: write target.reshape(input.shape)."
    return ""
