"""explain: what a binary cross-entropy is made of, item by item, and what it means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from torchbce.lens.calibration import calibration
from torchbce.lens.entropy import cross_entropy
from torchbce.lens.explanation import Explanation, Item

__all__ = ["Explanation", "explain"]


def explain(
    outputs: Any,
    targets: Any,
    *,
    from_logits: bool,
    weight: Any = None,
    baseline: float | None = None,
    top: int = 10,
    rows: Any = None,
) -> Explanation:
    r"""Where each digit of a BCE comes from, and what the number means.

    Everything is computed in float64 from ``-weight * (y log p + (1 - y) log(1 - p))``, each logarithm of a probability
    at least -100, as in torch.

    Args:
        outputs: what the model gave, any shape: tensor, array or list.
        targets: the same shape, in [0, 1].
        from_logits: True if ``outputs`` are logits, False if they are probabilities. Never guessed.
        weight: one weight per item, or one for all.
        baseline: the probability that the no-knowledge answer gives; by default the targets' own mean.
        top: how many of the worst items to keep; so many or fewer are all shown, in order.
        rows: the items' numbers in messages; by default 1, 2, ...

    Returns:
        An :class:`Explanation`, which prints itself.

    Raises:
        ValueError: nothing to explain, shapes that differ, a target outside [0, 1], a baseline outside (0, 1).
        RuntimeError: a probability outside [0, 1] or NaN; torch's words, with position and value.

    Example:
        >>> print(explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False))
         item  target  output
            1       1    0.60  -log(0.60)     =  0.51
            2       0    0.20  -log(1 - 0.20) =  0.22
            3       1    0.70  -log(0.70)     =  0.36
        ...
    """
    x, y = _float64(outputs), _float64(targets)
    if not x.numel():
        raise ValueError(f"there are no items to explain: outputs has the shape {tuple(x.shape)}")
    outside = ~((y >= 0) & (y <= 1))
    if outside.any():
        place = int(outside.flatten().nonzero()[0])
        raise ValueError(
            f"target {place + 1} is {y.flatten()[place].item():g}; targets lie in [0, 1]: "
            "{-1, 1} become (targets + 1) / 2, {0, 255} targets / 255"
        )
    w = None if weight is None else _float64(weight).expand(y.shape)
    if w is not None and not (w >= 0).all():
        raise ValueError("a weight is negative or NaN")
    if baseline is not None and not 0 < baseline < 1:
        raise ValueError(f"baseline is {baseline}; it is a probability between 0 and 1")
    if from_logits and x.isnan().any():
        raise ValueError(f"logit {int(x.isnan().flatten().nonzero()[0]) + 1} is NaN")

    bce = binary_cross_entropy_with_logits if from_logits else binary_cross_entropy
    losses = bce(x, y, w, reduction="none").flatten()
    x, y = x.flatten(), y.flatten()
    w = None if w is None else w.flatten()
    count, total = losses.numel(), losses.sum().item()
    mean = total / count
    probabilities = torch.sigmoid(x) if from_logits else x
    weights = 1.0 if w is None else w
    share = ((y * weights).sum() / (weights.sum() if isinstance(weights, Tensor) else count)).item()
    answer = share if baseline is None else baseline
    hard = bool(((y == 0) | (y == 1)).all())
    logits = x if from_logits else torch.logit(x)
    clamped = torch.zeros_like(losses, dtype=torch.bool) if from_logits else (x == 1 - y) & hard

    return Explanation(
        count=count,
        total=total,
        mean=mean,
        standard_error=losses.std(correction=1).item() / math.sqrt(count) if count > 1 else math.nan,
        weight_sum=None if w is None else w.sum().item(),
        from_logits=from_logits,
        base_rate=share,
        baseline_answer=answer,
        baseline=cross_entropy(share, answer),
        floor=None if hard else _entropy_of(y, w),
        clamped=int(clamped.sum()),
        clamped_cost=losses[clamped].sum().item(),
        calibration=calibration(logits.numpy(), y.numpy(), None if w is None else w.numpy()) if hard else None,
        items=_items(x, probabilities, y, losses, rows, top, from_logits),
    )


def _float64(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu().double()
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _entropy_of(y: Tensor, w: Tensor | None) -> float:
    """The least mean loss that soft targets allow: the mean of their own entropies."""
    return binary_cross_entropy(y, y, w).item()


def _items(
    x: Tensor, probabilities: Tensor, y: Tensor, losses: Tensor, rows: Any, top: int, from_logits: bool
) -> tuple[Item, ...]:
    """All items in order if they are few, else the worst, the worst first."""
    if len(losses) <= top:
        chosen = torch.arange(len(losses))
    else:
        chosen = torch.argsort(losses, descending=True, stable=True)[:top]
    numbers = np.arange(1, len(losses) + 1) if rows is None else np.asarray(rows)
    return tuple(
        Item(
            row=int(numbers[i]),
            target=y[i].item(),
            probability=probabilities[i].item(),
            logit=x[i].item() if from_logits else None,
            loss=losses[i].item(),
        )
        for i in chosen.tolist()
    )
