"""Asymmetric loss: positives and negatives have their own focus, and easy negatives below a margin cost nothing.

Ridnik et al. 2021, https://arxiv.org/abs/2009.14119.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import FOCUS, Options, Range
from torchbce.engine.overrides import loss_function
from torchbce.engine.reference import register
from torchbce.formula.functions import missed, power_unit, sigmoid, softplus
from torchbce.formula.loss import Loss
from torchbce.losses.bce import INFINITY, LOG_FLOOR, bce_defined
from torchbce.losses.module import LossModule

if TYPE_CHECKING:  # `bind` puts the engine's own in their place
    from torch import clamp_min as at_least
    from torch import log, log1p, where

    def stop_gradient(v: Any) -> Any: ...


MARGIN = Range(0.0, 1.0, "negatives whose probability is below it cost nothing")


def shifted(p: Any, clip: Any) -> Any:
    """Return the probability of a negative, less the margin."""
    return at_least(p - clip, 0.0)


def shifted_cost(p: Any, q: Any, clip: Any) -> Any:
    """-log(1 - shifted(p)), for a clip above 0."""
    return -where(p > 0.5, log(q + clip), log1p(-shifted(p, clip)))


def focus(p: Any, q: Any, y: Any, gamma_pos: Any, gamma_neg: Any, clip: Any) -> Any:
    """(1 - p_t)^gamma, with the gamma of the target."""
    return power_unit(missed(shifted(p, clip), q, y), gamma_pos * y + gamma_neg * (1.0 - y))


def cost_with_logits(x: Any, y: Any, p: Any, q: Any, clip: Any, pos_weight: Any) -> Any:
    """Return BCE with the margin."""
    # An infinite logit that is right costs 0, and not 0 * inf.
    yes = where((y == 0.0) & (x == -INFINITY), 0.0, softplus(-x))
    no = where((y == 1.0) & (x == INFINITY), 0.0, softplus(x))
    return pos_weight * y * yes + (1.0 - y) * where(clip > 0.0, shifted_cost(p, q, clip), no)


def asymmetric_with_logits(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """-(1 - p_t)^gamma (pos_weight y log p + (1 - y) log(1 - max(p - clip, 0)))."""
    p, q = sigmoid(x), sigmoid(-x)
    return focus(p, q, y, gamma_pos, gamma_neg, clip) * cost_with_logits(x, y, p, q, clip, pos_weight)


def asymmetric_with_logits_detached(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """Return the loss with a focusing weight that is not differentiated."""
    p, q = sigmoid(x), sigmoid(-x)
    return stop_gradient(focus(p, q, y, gamma_pos, gamma_neg, clip)) * cost_with_logits(x, y, p, q, clip, pos_weight)


def cost(x: Any, y: Any, clip: Any, pos_weight: Any) -> Any:
    negative = where(clip > 0.0, shifted_cost(x, 1.0 - x, clip), -at_least(log1p(-x), LOG_FLOOR))
    return -pos_weight * y * at_least(log(x), LOG_FLOOR) + (1.0 - y) * negative


def asymmetric(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """Return the loss of probabilities."""
    return focus(x, 1.0 - x, y, gamma_pos, gamma_neg, clip) * cost(x, y, clip, pos_weight)


def asymmetric_detached(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """Return the loss of probabilities, with a focusing weight that is not differentiated."""
    return stop_gradient(focus(x, 1.0 - x, y, gamma_pos, gamma_neg, clip)) * cost(x, y, clip, pos_weight)


ASYMMETRIC_WITH_LOGITS = register(Loss("asymmetric_loss_with_logits", asymmetric_with_logits))
ASYMMETRIC_WITH_LOGITS_DETACHED = register(
    Loss("asymmetric_loss_with_logits, detached", asymmetric_with_logits_detached)
)
ASYMMETRIC = register(Loss("asymmetric_loss", asymmetric, defined=bce_defined, checks_input=True))
ASYMMETRIC_DETACHED = register(
    Loss("asymmetric_loss, detached", asymmetric_detached, defined=bce_defined, checks_input=True)
)


@loss_function(gamma_pos=FOCUS, gamma_neg=FOCUS, clip=MARGIN)
def asymmetric_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma_pos: Weight = 1.0,
    gamma_neg: Weight = 4.0,
    clip: Weight = 0.05,
    pos_weight: Weight = None,
    detach_focus: bool = False,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Asymmetric loss of logits, for many labels of which few are positive (Ridnik et al. 2021); timm's results.

    ``-(1 - p_t) ** g * (pos_weight y log p + (1 - y) log(1 - m))`` with ``m = max(p - clip, 0)``,
    ``p_t = p y + (1 - m)(1 - y)`` and ``g = gamma_pos y + gamma_neg (1 - y)``. timm floors probabilities at 1e-8,
    where its gradient ends; here it does not. For gammas and clip of 0 it is BCE.

    Probabilities trained with it are not calibrated: negatives below the margin are not learned from.

    Args:
        gamma_pos, gamma_neg: focusing of positives and of negatives.
        clip: the margin; a negative whose probability is below costs nothing.
        detach_focus: the focusing weight is not differentiated (``disable_torch_grad_focal_loss`` in timm).
        input, target, weight, reduction, pos_weight, mask, options: as for
            :func:`torchbce.focal_loss_with_logits`. timm's ``reduction='batchmean'`` is
            ``normalize='batch'``.

    Example:
        >>> import torch
        >>> asymmetric_loss_with_logits(torch.tensor([0.0, -4.0]), torch.tensor([1.0, 0.0]), reduction="none")
        tensor([0.3466, 0.0000])

    Source: https://arxiv.org/abs/2009.14119
    """
    loss = ASYMMETRIC_WITH_LOGITS_DETACHED if detach_focus else ASYMMETRIC_WITH_LOGITS
    return compute_loss(loss, input, target, (gamma_pos, gamma_neg, clip, pos_weight), weight, reduction, mask, options)


@loss_function(gamma_pos=FOCUS, gamma_neg=FOCUS, clip=MARGIN)
def asymmetric_loss(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma_pos: Weight = 1.0,
    gamma_neg: Weight = 4.0,
    clip: Weight = 0.05,
    pos_weight: Weight = None,
    detach_focus: bool = False,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Asymmetric loss of probabilities; see :func:`asymmetric_loss_with_logits`.

    Example:
        >>> import torch
        >>> asymmetric_loss(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.3466)

    Source: https://arxiv.org/abs/2009.14119
    """
    loss = ASYMMETRIC_DETACHED if detach_focus else ASYMMETRIC
    return compute_loss(loss, input, target, (gamma_pos, gamma_neg, clip, pos_weight), weight, reduction, mask, options)


class AsymmetricWithLogitsLoss(LossModule):
    """:func:`asymmetric_loss_with_logits` as a module."""

    function = staticmethod(asymmetric_loss_with_logits)


class AsymmetricLoss(LossModule):
    """:func:`asymmetric_loss` as a module."""

    function = staticmethod(asymmetric_loss)
