"""Binary cross-entropy of logits.

With p = sigmoid(x) the loss is (1 - y) softplus(x) + pos_weight y softplus(-x), where softplus(x) is
max(x, 0) + log1p(exp(-|x|)). Collecting the terms by sign leaves nothing to cancel: a confident right answer keeps all
of its digits, and exp never overflows. The second derivatives write |x| as a choice, because that can be differentiated
further, at x = 0 too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from torchbce.engine.compute import autocast, check_sizes, compute_call, quick
from torchbce.engine.options import Normalize, Options, changed, known, spell_out
from torchbce.engine.overrides import handled, has_torch_function_variadic, scripted_as
from torchbce.engine.reference import register
from torchbce.engine.validate import check_call, refuse_dtype, validated
from torchbce.formula.loss import Loss
from torchbce.losses.bce import INFINITY
from torchbce.losses.module import as_buffer, options_of, refuse_script, shown

if TYPE_CHECKING:  # `bind` puts the engine's own in their place
    from torch import exp as exp_unit
    from torch import log1p as log1p_unit
    from torch import where

TORCH_BCE_WITH_LOGITS = torch.nn.functional.binary_cross_entropy_with_logits  # as it was before any patch


def far_line(x: Any, no: Any, yes: Any) -> Any:
    """Return the line that the loss approaches far from 0; a right infinite logit costs 0, not 0 * inf.

    Only an infinite one: elsewhere the line has a derivative by the target, at a hard target too.
    """
    steep = where(x >= 0.0, no, yes)
    return steep * where((steep == 0.0) & (abs(x) == INFINITY), 0.0, abs(x))


def bce_with_logits(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-(pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x)))."""
    no, yes = 1.0 - y, pos_weight * y
    return (no + yes) * log1p_unit(exp_unit(-abs(x))) + far_line(x, no, yes)


def bce_with_logits_dx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(1 - y) sigmoid(x) - pos_weight y sigmoid(-x)."""
    no, yes = 1.0 - y, pos_weight * y
    e = exp_unit(-abs(x))
    return where(x >= 0.0, no - yes * e, no * e - yes) / (1.0 + e)


def bce_with_logits_dy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """pos_weight softplus(-x) - softplus(x); exactly -x where pos_weight is 1."""
    return where(x >= 0.0, -x, -pos_weight * x) + (pos_weight - 1.0) * log1p_unit(exp_unit(-abs(x)))


def bce_with_logits_dxx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(1 - y + pos_weight y) sigmoid(x) sigmoid(-x)."""
    e = exp_unit(where(x >= 0.0, -x, x))
    return (1.0 - y + pos_weight * y) * e / ((1.0 + e) * (1.0 + e))


def bce_with_logits_dxy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-(sigmoid(x) + pos_weight sigmoid(-x))."""
    e = exp_unit(where(x >= 0.0, -x, x))
    return -where(x >= 0.0, 1.0 + pos_weight * e, e + pos_weight) / (1.0 + e)


BCE_WITH_LOGITS = register(
    Loss(
        "binary_cross_entropy_with_logits",
        bce_with_logits,
        bce_with_logits_dx,
        dy=bce_with_logits_dy,
        dxx=bce_with_logits_dxx,
        dxy=bce_with_logits_dxy,
        linear_in_target=True,
    )
)


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
    mask: Tensor | None = None,
    **options: Unpack[Options],
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
        validate: ``'none'``, as in torch, or ``'raise'``: targets outside [0, 1] are an error, found in the same pass
            (within torch.compile by an assertion of the graph).

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
    if mask is None and size_average is None and reduce is None:
        value = quick(BCE_WITH_LOGITS, input, target, (pos_weight,), weight, reduction, options)
        if value is not None:
            return value
    if has_torch_function_variadic(input, target, weight, pos_weight, mask):
        options = changed(binary_cross_entropy_with_logits, known(options, ("pos_weight",)))  # type: ignore[assignment]
        own = {} if mask is None else {"mask": mask}
        tensors = input, target, weight, pos_weight, mask
        given = input, target, weight, size_average, reduce, reduction, pos_weight
        return handled(binary_cross_entropy_with_logits, TORCH_BCE_WITH_LOGITS, tensors, *given, **own, **options)
    mode = check_call(input, target, size_average, reduce, reduction)
    known(options, ("pos_weight",))
    check_sizes(input, target, options)
    input, target = autocast(input), autocast(target)
    if not input.is_floating_point() or target.is_complex():
        refuse_dtype(
            NotImplementedError,
            "binary_cross_entropy_with_logits needs a floating-point input and a real target",
            input=input,
            target=target,
        )
    result_dtype = target.dtype if target.is_floating_point() else input.dtype
    call = validated(BCE_WITH_LOGITS, input, target, (pos_weight,), weight, mode, result_dtype, mask, options)
    return compute_call(input, target, call, options.get("normalize"))


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    r"""Binary cross-entropy of logits, in nats; see :func:`torchbce.functional.binary_cross_entropy_with_logits`.

    Args:
        weight: a number or a tensor that broadcasts to the target; kept as a buffer.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        pos_weight: a number or a tensor with one weight per class; kept as a buffer.
        options: as for the function: ``label_smoothing``, ``target_threshold``, ``num_classes``, ``ignore_index``,
            ``normalize``, ``class_dim``, ``validate``.

    Shape: input and target alike; the loss is 0-d, or of the same shape for ``'none'``. A third argument is the mask of
    the items that count; ``normalize=`` may be given per call, as :func:`torchbce.global_denominator` makes it.

    Example:
        >>> loss_func = BCEWithLogitsLoss(pos_weight=2.0)
        >>> loss_func(torch.tensor([0.0, 0.0]), torch.tensor([1, 0]))
        tensor(1.0397)
    """

    def __init__(
        self,
        weight: Tensor | float | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | float | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            as_buffer("weight", weight), size_average, reduce, reduction, as_buffer("pos_weight", pos_weight)
        )
        self.options = known(options)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        return binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            mask=mask,
            **options_of(self, normalize),
        )

    def extra_repr(self) -> str:
        return shown(self)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        refuse_script(self)
        return torch.nn.BCEWithLogitsLoss(self.weight, reduction=self.reduction, pos_weight=self.pos_weight)


spell_out(binary_cross_entropy_with_logits, binary_cross_entropy_with_logits)
spell_out(BCEWithLogitsLoss, binary_cross_entropy_with_logits)
