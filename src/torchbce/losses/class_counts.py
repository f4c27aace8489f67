"""Compute weights and biases from how often each class occurs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Rule = Literal["inverse", "effective"]


def pos_weight_from(
    counts: Tensor, samples: int | None = None, *, power: float = 1.0, most: float | None = None
) -> Tensor:
    r"""``(negatives / positives) ** power``: the ``pos_weight`` that gives both targets the same share of the loss.

    A model trained with it answers ``pos_weight p / (pos_weight p + 1 - p)`` where p is right: its probabilities are
    too high. Subtract ``log(pos_weight)`` from its logits before they are read as probabilities.

    Args:
        counts: how many positives each class has, with ``samples``; or the targets themselves, (samples, ...) of 0 and
            1.
        samples: the number of samples that the counts are of.
        power: 0.5 for a softer balance.
        most: the largest weight.

    Returns:
        float32, the shape of a sample. A class without positives counts as having one, and without negatives one.

    Raises:
        ValueError: counts outside [0, samples], targets outside [0, 1].

    Example:
        >>> pos_weight_from(torch.tensor([10.0, 50.0]), samples=100)
        tensor([9., 1.])
        >>> pos_weight_from(torch.tensor([[1, 0], [0, 0], [1, 1], [0, 0]]))
        tensor([1., 3.])

    Source: https://pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """
    positives, n = _counted(counts, samples)
    return _capped(((n - positives) / positives) ** power, most)


def class_weight_from(
    counts: Tensor,
    samples: int | None = None,
    *,
    rule: Rule = "inverse",
    power: float = 1.0,
    beta: float = 0.999,
    most: float | None = None,
) -> Tensor:
    r"""A ``weight`` per class from how often it occurs, with mean 1.

    It weighs both targets of a class alike, so each class's probabilities stay calibrated where classes share nothing;
    what the classes share is learned more from the rare ones.

    Args:
        counts, samples, most: as for :func:`pos_weight_from`.
        rule: ``'inverse'`` frequency, ``(samples / positives) ** power``; ``'effective'`` number of samples,
            ``(1 - beta) / (1 - beta ** positives)`` (Cui et al. 2019).
        power, beta: of these rules.

    Returns:
        float32, the shape of a sample.

    Raises:
        ValueError: an unknown rule, beta outside (0, 1), counts outside [0, samples].

    Example:
        >>> class_weight_from(torch.tensor([10.0, 30.0]), samples=100)
        tensor([1.5000, 0.5000])

    Source: https://arxiv.org/abs/1901.05555
    """
    positives, n = _counted(counts, samples)
    if rule == "inverse":
        weights = (n / positives) ** power
    elif rule == "effective":
        weights = effective_weight(positives, beta)
    else:
        raise ValueError(f"rule is {rule!r}; it is 'inverse' or 'effective'")
    return _capped(weights / weights.mean(), most)


def prior_bias(counts: Tensor, samples: int | None = None) -> Tensor:
    r"""``log(p / (1 - p))`` of each class's base rate: the bias of the last layer with which training starts right.

    The first steps then need not learn the base rate. It changes where training starts and not where it ends, so it
    does not change calibration. Write ``model[-1].bias.data.copy_(prior_bias(targets))``.

    Args:
        counts, samples: as for :func:`pos_weight_from`.

    Returns:
        float32, the shape of a sample.

    Raises:
        ValueError: counts outside [0, samples], targets outside [0, 1].

    Example:
        >>> prior_bias(torch.tensor([10.0, 50.0]), samples=100)
        tensor([-2.1972,  0.0000])

    Source: https://arxiv.org/abs/1708.02002, section 3.3
    """
    positives, n = _counted(counts, samples)
    return torch.log(positives / (n - positives)).float()


def effective_weight(count: Tensor, beta: float) -> Tensor:
    """Return the inverse of the effective number of samples."""
    if not 0 < beta < 1:
        raise ValueError(f"beta is {beta:g}; it lies between 0 and 1, such as 0.999")
    return (1 - beta) / -torch.expm1(count * torch.log(torch.tensor(beta, dtype=torch.float64)))


def _counted(counts: Tensor, samples: int | None) -> tuple[Tensor, int]:
    """Return the positives of each class, at least 1 and at most samples - 1, and the number of samples."""
    if samples is None:
        samples = counts.shape[0] if counts.ndim else 0
        outside = (counts < 0) | (counts > 1)
        if outside.any():
            raise ValueError(f"targets lie in [0, 1], one is {counts[outside][0].item():g}; counts need samples=")
        counts = counts.sum(0, dtype=torch.float64)
    counts = counts.double()
    if samples < 2 or ((counts < 0) | (counts > samples)).any():
        raise ValueError(
            f"counts lie in [0, {samples}], and there are at least 2 samples; counts are {counts.tolist()}"
        )
    return counts.clamp(1, samples - 1), samples


def _capped(weights: Tensor, most: float | None) -> Tensor:
    return (weights if most is None else weights.clamp(max=most)).float()
