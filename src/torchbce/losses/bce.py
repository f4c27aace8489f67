"""Binary cross-entropy of probabilities.

A sum over items need not take a logarithm of each: log a + log b = log(ab). `bce_factored` writes the loss of one item
as -log(base + rest), where base is 0 or 1 and the sum is left to the engine, so that no digit of a small rest is
lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from torchbce.engine.compute import autocast, compute_call, quick, reshape_advice
from torchbce.engine.options import Normalize, Options, changed, known, spell_out
from torchbce.engine.overrides import handled, has_torch_function_variadic, scripted_as
from torchbce.engine.reference import register
from torchbce.engine.validate import check_call, refuse_dtype, validated
from torchbce.formula.loss import Loss
from torchbce.losses.module import as_buffer, options_of, refuse_script, shown

if TYPE_CHECKING:  # `bind` puts the engine's own in their place
    from torch import clamp_min as at_least
    from torch import log, log1p, where

    from torchbce.formula.elementary import log_unit_float64 as log_unit

TORCH_BCE = torch.nn.functional.binary_cross_entropy  # as it was before any patch
INFINITY = math.inf
LOG_FLOOR = -100.0  # torch floors each logarithm here, so that log(0) costs 100 and not infinity
SLOPE_FLOOR = 9.999999960041972e-13  # float32(1e-12): torch's floor of x(1 - x) under the gradient, in every dtype


def bce(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """Return -(pos_weight y log x + (1 - y) log(1 - x)), each logarithm floored at -100."""
    return (y - 1.0) * at_least(log_unit(1.0, -x), LOG_FLOOR) - pos_weight * y * at_least(log_unit(0.0, x), LOG_FLOOR)


def bce_dx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(x - y) / (x (1 - x)) for a pos_weight of 1.

    The floor of the logarithm is not differentiated, but the denominator has its own.
    """
    away = where(pos_weight == 1.0, x - y, (1.0 - y) * x - pos_weight * y * (1.0 - x))
    return away / at_least((1.0 - x) * x, SLOPE_FLOOR)


def bce_dy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """log(1 - x) - pos_weight log x, without a floor."""
    return log1p(-x) - pos_weight * log(x)


def bce_dxx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """pos_weight y / x^2 + (1 - y) / (1 - x)^2, as one fraction over the floored denominator."""
    v = at_least((1.0 - x) * x, SLOPE_FLOOR)
    return ((1.0 - y) * x * x + pos_weight * y * (1.0 - x) * (1.0 - x)) / v / v


def bce_dxy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-1 / (x (1 - x)) for a pos_weight of 1."""
    return -(x + pos_weight * (1.0 - x)) / at_least((1.0 - x) * x, SLOPE_FLOOR)


def bce_defined(x: Any, y: Any) -> Any:
    """Return whether input and target lie in [0, 1]; NaN does not."""
    return (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0)


def bce_hard(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """Return the loss of a target of 0 or 1 by one logarithm, of the probability given to it."""
    base, rest = bce_factored(x, y)
    return where(y == 1.0, -pos_weight, -1.0) * at_least(log_unit(base, rest), LOG_FLOOR)


def bce_factored(x: Any, y: Any) -> Any:
    """Return -log of the probability given to the target."""
    return where(y == 1.0, 0.0, 1.0), where(y == 1.0, x, -x)


def bce_factors(x: Any, y: Any) -> Any:
    """Return whether one logarithm is enough: the target is 0 or 1 exactly."""
    return (x >= 0.0) & (x <= 1.0) & ((y == 0.0) | (y == 1.0))


BCE = register(
    Loss(
        "binary_cross_entropy",
        bce,
        bce_dx,
        dy=bce_dy,
        dxx=bce_dxx,
        dxy=bce_dxy,
        linear_in_target=True,
        hard=bce_hard,
        factored=bce_factored,
        log_floor=LOG_FLOOR,
        defined=bce_defined,
        checks_input=True,
        factors=bce_factors,
    )
)


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
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Binary cross-entropy between probabilities and targets, in nats.

    For one item, ``-weight * (pos_weight * target * log(input) + (1 - target) * log(1 - input))``, where each logarithm
    is at least -100. ``mean`` divides by the number of items; the weights do not enter the denominator.

    Args:
        input: probabilities in [0, 1], any shape, float16 to float64.
        target: the same shape; in [0, 1] of the input's dtype, or bool or integer (read as it is).
        weight, size_average, reduce, reduction, pos_weight, mask, options: as for
            :func:`binary_cross_entropy_with_logits`; values are always checked, as if by ``validate='raise'``.

    Returns:
        A tensor of the input's dtype (float32 under autocast): 0-d, or of the input's shape and strides for ``'none'``.
        float16 and bfloat16 are computed in float32, sums in float64, and rounded once.

    Raises:
        ValueError: the shapes differ, or the reduction is unknown.
        RuntimeError: a value outside [0, 1] or NaN (checked wherever values can be read, on a GPU with a
            synchronisation; within torch.compile by an assertion of the graph, on the CPU and CUDA); dtypes that do not
            fit; a weight that does not broadcast or requires grad.

    Example:
        >>> probs = torch.tensor([0.60, 0.20, 0.70])
        >>> binary_cross_entropy(probs, torch.tensor([1, 0, 1]))
        tensor(0.3635)

    Source: https://pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html
    """
    if mask is None and size_average is None and reduce is None:
        value = quick(BCE, input, target, (pos_weight,), weight, reduction, options)
        if value is not None:
            return value
    if has_torch_function_variadic(input, target, weight, pos_weight, mask):
        options = changed(binary_cross_entropy, known(options, ("pos_weight",)))  # type: ignore[assignment]
        own = {name: v for name, v in (("pos_weight", pos_weight), ("mask", mask)) if v is not None}
        tensors = input, target, weight, pos_weight, mask
        given = input, target, weight, size_average, reduce, reduction
        return handled(binary_cross_entropy, TORCH_BCE, tensors, *given, **own, **options)
    mode = check_call(input, target, size_average, reduce, reduction)
    known(options, ("pos_weight",))
    if options.get("num_classes") is None and target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            f"deprecated. Please ensure they have the same size.{reshape_advice(input, target)}"
        )
    input, target = autocast(input), autocast(target)
    if not input.is_floating_point():
        refuse_dtype(RuntimeError, "binary_cross_entropy needs a floating-point input", input=input)
    if target.dtype != input.dtype and (target.is_floating_point() or target.is_complex()):
        target_name, expected = _name(target.dtype), _name(input.dtype)
        refuse_dtype(
            RuntimeError,
            f"Found dtype {target_name} but expected {expected}: write target.to(input.dtype)",
            input=input,
            target=target,
        )
    call = validated(BCE, input, target, (pos_weight,), weight, mode, input.dtype, mask, options)
    return compute_call(input, target, call, options.get("normalize"))


def _name(dtype: torch.dtype) -> str:
    """Return torch's name for a dtype in its error messages."""
    words = {torch.float16: "Half", torch.bfloat16: "BFloat16", torch.float32: "Float", torch.float64: "Double"}
    return words.get(dtype, str(dtype).removeprefix("torch."))


class BCELoss(torch.nn.BCELoss):
    r"""Binary cross-entropy of probabilities, in nats; see :func:`torchbce.functional.binary_cross_entropy`.

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
        >>> loss_func = BCELoss()
        >>> loss_func(torch.tensor([[0.60], [0.20], [0.70]]), torch.tensor([[1.0], [0.0], [1.0]]))
        tensor(0.3635)
    """

    def __init__(
        self,
        weight: Tensor | float | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        pos_weight: Tensor | float | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(as_buffer("weight", weight), size_average, reduce, reduction)
        if pos_weight is not None:  # so that torch's own state is loaded without it
            self.register_buffer("pos_weight", as_buffer("pos_weight", pos_weight))
        self.options = known(options)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        return binary_cross_entropy(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self._buffers.get("pos_weight"),
            mask=mask,
            **options_of(self, normalize),
        )

    def extra_repr(self) -> str:
        return shown(self)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        refuse_script(self)
        return torch.nn.BCELoss(self.weight, reduction=self.reduction)


spell_out(binary_cross_entropy, binary_cross_entropy)
spell_out(BCELoss, binary_cross_entropy)
