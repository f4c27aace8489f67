"""Binary cross-entropy as functions, with the signatures of `torch.nn.functional`."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce import options
from torchbce.autograd import usual
from torchbce.evaluate import HALVES, Asked, autocast, evaluate, reshape_advice
from torchbce.formulas.bce import BCE, BCE_WITH_LOGITS
from torchbce.options import Normalize
from torchbce.torch_function import handled, has_torch_function_variadic, scripted_as

TORCH_BCE = torch.nn.functional.binary_cross_entropy  # as it was before any patch
TORCH_BCE_WITH_LOGITS = torch.nn.functional.binary_cross_entropy_with_logits
PLAIN, PLAIN_LOGITS = Asked(validate="raise"), Asked(validate="none")

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


@scripted_as(TORCH_BCE)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | float | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    pos_weight: Tensor | float | None = None,
    label_smoothing: float = 0.0,
    target_threshold: float | None = None,
    num_classes: int | None = None,
    ignore_index: float | None = None,
    mask: Tensor | None = None,
    normalize: Normalize = "numel",
    class_dim: int | None = None,
    validate: str = "raise",
) -> Tensor:
    r"""Binary cross-entropy between probabilities and targets, in nats.

    For one item, ``-weight * (pos_weight * target * log(input) + (1 - target) * log(1 - input))``, where each logarithm
    is at least -100. ``mean`` divides by the number of items; the weights do not enter the denominator.

    Args:
        input: probabilities in [0, 1], any shape, float16 to float64.
        target: the same shape; in [0, 1] of the input's dtype, or bool or integer (read as it is).
        weight: a number or a tensor that broadcasts to the target.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'`` (one loss per item), ``'mean'`` or ``'sum'``.
        pos_weight: the weight of the positive part, a number or a tensor that broadcasts to the target; the last
            dimension is the class.
        label_smoothing: s in [0, 1]; targets become ``target * (1 - s) + s / 2``, as in Keras and timm (the other
            convention, ``target * (1 - r) + (1 - target) * r``, is ours with s = 2r); of class numbers s / num_classes.
        target_threshold: targets above it become 1 and the others 0, before smoothing.
        num_classes: targets are class numbers, integers without the dimension ``class_dim`` of the input.
        ignore_index: items with this target (a number, or NaN) add exactly 0, whatever their input is; of class
            numbers, all classes of that element.
        mask: bool, broadcasts to the target; False for items that add exactly 0.
        normalize: what ``mean`` divides by: ``'numel'`` all items, ``'valid'`` those that are not ignored,
            ``'weight'`` the weights of those, ``'batch'`` the first dimension's size, a number or a 0-d tensor. With
            nothing to divide by the mean is 0.
        class_dim: the dimension of the classes, along which weights of one dimension lie: 1 for (N, C, H, W). By
            default the last, and 1 with ``num_classes``.
        validate: ``'raise'``: probabilities and targets are always checked.

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
    asked = Asked(label_smoothing, target_threshold, num_classes, ignore_index, mask, normalize, class_dim, validate)
    if has_torch_function_variadic(input, target, weight, pos_weight, mask):
        own = asked.changed(PLAIN)
        if pos_weight is not None:
            own["pos_weight"] = pos_weight
        tensors = input, target, weight, pos_weight, mask
        given = input, target, weight, size_average, reduce, reduction
        return handled(binary_cross_entropy, TORCH_BCE, tensors, *given, **own)
    if weight is None and pos_weight is None and size_average is None and reduce is None and asked == PLAIN:
        result = usual(BCE, input, target, reduction)
        if result is not None:
            return result
    mode = options.check_call(input, target, size_average, reduce, reduction)
    if num_classes is None and target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            f"deprecated. Please ensure they have the same size.{reshape_advice(input, target)}"
        )
    if input.dtype in HALVES or target.dtype in HALVES:
        input, target = autocast(input), autocast(target)
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
    return evaluate(BCE, input, target, (pos_weight,), weight, mode, input.dtype, asked)


@scripted_as(TORCH_BCE_WITH_LOGITS)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | float | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | float | None = None,
    *,
    label_smoothing: float = 0.0,
    target_threshold: float | None = None,
    num_classes: int | None = None,
    ignore_index: float | None = None,
    mask: Tensor | None = None,
    normalize: Normalize = "numel",
    class_dim: int | None = None,
    validate: str = "none",
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
        label_smoothing: s in [0, 1]; targets become ``target * (1 - s) + s / 2``, as in Keras and timm (the other
            convention, ``target * (1 - r) + (1 - target) * r``, is ours with s = 2r); of class numbers s / num_classes.
        target_threshold: targets above it become 1 and the others 0, before smoothing.
        num_classes: targets are class numbers, integers without the dimension ``class_dim`` of the input.
        ignore_index: items with this target (a number, or NaN) add exactly 0, whatever their input is; of class
            numbers, all classes of that element.
        mask: bool, broadcasts to the target; False for items that add exactly 0.
        normalize: what ``mean`` divides by: ``'numel'`` all items, ``'valid'`` those that are not ignored,
            ``'weight'`` the weights of those, ``'batch'`` the first dimension's size, a number or a 0-d tensor. With
            nothing to divide by the mean is 0.
        class_dim: the dimension of the classes, along which weights of one dimension lie: 1 for (N, C, H, W). By
            default the last, and 1 with ``num_classes``.
        validate: ``'none'``, as in torch, or ``'raise'``: targets outside [0, 1] are an error, found in the same pass.

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
    asked = Asked(label_smoothing, target_threshold, num_classes, ignore_index, mask, normalize, class_dim, validate)
    if has_torch_function_variadic(input, target, weight, pos_weight, mask):
        own = asked.changed(PLAIN_LOGITS)
        tensors = input, target, weight, pos_weight, mask
        given = input, target, weight, size_average, reduce, reduction, pos_weight
        return handled(binary_cross_entropy_with_logits, TORCH_BCE_WITH_LOGITS, tensors, *given, **own)
    if weight is None and pos_weight is None and size_average is None and reduce is None and asked == PLAIN_LOGITS:
        result = usual(BCE_WITH_LOGITS, input, target, reduction)
        if result is not None:
            return result
    mode = options.check_call(input, target, size_average, reduce, reduction)
    if num_classes is None and target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
            f"{reshape_advice(input, target)}"
        )
    if input.dtype in HALVES or target.dtype in HALVES:
        input, target = autocast(input), autocast(target)
    if not input.is_floating_point() or target.is_complex():
        options.refuse_dtype(
            NotImplementedError,
            "binary_cross_entropy_with_logits needs a floating-point input and a real target",
            input=input,
            target=target,
        )
    result_dtype = target.dtype if target.is_floating_point() else input.dtype
    return evaluate(BCE_WITH_LOGITS, input, target, (pos_weight,), weight, mode, result_dtype, asked)


def _name(dtype: torch.dtype) -> str:
    """torch's word for a dtype in its error messages."""
    words = {torch.float16: "Half", torch.bfloat16: "BFloat16", torch.float32: "Float", torch.float64: "Double"}
    return words.get(dtype, str(dtype).removeprefix("torch."))
