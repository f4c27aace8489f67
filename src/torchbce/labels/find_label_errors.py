"""find_label_errors: labels that are probably wrong, and how many there are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from torchbce.explanation.sketch.items import as_tensor, check_values, place
from torchbce.explanation.sketch.logits import logits_of
from torchbce.explanation.sketch.losses import item_losses
from torchbce.labels.estimate import Count, Line, Noise, calibrated, estimated
from torchbce.labels.result import ClassErrors, LabelErrors, Suspect
from torchbce.labels.suspects import Contradicted

__all__ = ["LabelErrors", "find_label_errors"]

UNKNOWN = Count(math.nan, math.nan, math.nan)


def find_label_errors(
    outputs: Any,
    targets: Any,
    *,
    from_logits: bool,
    weight: Any = None,
    rows: Any = None,
    top: int = 100,
) -> LabelErrors:
    r"""Return which labels are probably wrong, the likeliest first, and how many there are.

    Labels are taken for noisy: ``P(label = 1 | x) = rho_0 + (1 - rho_0 - rho_1) P(true 1 | x)``, with one rate for all
    true zeros and one for all true ones. Predictions alone cannot tell noise from uncertainty, so the number lies
    between what only noise explains (a logistic curve with a floor and a ceiling, by likelihood) and what the surest
    predictions allow (every contradiction among them an error). The estimate is the middle; the interval reaches from
    the 95 % limit of the one to that of the other. An item's ``chance`` is Bayes' posterior by the middle rates, and
    the number is the sum of all items' chances; where hardly a label is wrong they say too much (of 500 items with 1 %
    wrong, those said to be wrong with 86 % were with 57 %; of 2,000 with 5 % wrong, 81 %). Its ``saving`` is how far
    the logit, calibrated by a straight line, lies on the other label's side; it needs no rates, and where they cannot
    be told it makes the order.

    **Predictions must be out of fold**, or on rows that the model has not learnt from: a model has learnt the wrong
    labels of its own training rows, so they do not contradict it. And the estimate is no better than the model: a
    region where it errs with confidence, always in the same way, looks exactly like wrong labels, and raises both ends
    of the interval; so do rates that differ from region to region. Labels are taken to be wrong one by one: where they
    are wrong by clusters (an annotator's, a day's), the interval is too narrow. Items are to be looked at, not flipped
    unseen.

    Args:
        outputs: what the model gave, any shape: tensor, array or list. Of several labels a row the number is not told,
            since each label has rates of its own.
        targets: the same shape, 0 or 1.
        from_logits: True if ``outputs`` are logits, False if they are probabilities. Never guessed.
        weight: how many items each stands for, as where one label was sampled more thinly; counts are then sums of
            weights, and limits widen by how unequal they are: an item is one item, whatever its weight. The order
            leaves weights out, except that items of weight 0 are no suspects.
        rows: the items' numbers; by default 1, 2, ...
        top: how many suspects to keep at most.

    Returns:
        A :class:`LabelErrors`, which prints itself.

    Raises:
        ValueError: no items, shapes that differ, a value that is not allowed with its position, one class only, a
            negative top.

    Example:
        >>> found = find_label_errors([0.97, 0.02, 0.10, 0.99], [1, 0, 1, 1], from_logits=False)
        >>> print(found)
          row  target  output   loss  correcting saves  wrong with chance
            3       1    0.10   2.30              2.20          not known
        <BLANKLINE>
        wrong       how many of 4 labels cannot be told: there are too few items: 50 are needed, and 10 of each label

    Sources: Copas 1988, https://doi.org/10.1111/j.2517-6161.1988.tb01723.x, for the curve; Liu and Tao 2016,
    https://doi.org/10.1109/TPAMI.2015.2456899, for the surest predictions.
    """
    x, y = as_tensor("outputs", outputs), as_tensor("targets", targets)
    if x.shape != y.shape:
        raise ValueError(f"outputs has the shape {tuple(x.shape)} and targets {tuple(y.shape)}; write both alike")
    w = None if weight is None else as_tensor("weight", weight).double()
    if w is not None and w.shape not in (y.shape, torch.Size([])):
        raise ValueError(f"weight has the shape {tuple(w.shape)} and targets {tuple(y.shape)}; one per item, or one")
    shape = tuple(x.shape)
    x, y = x.flatten(), y.flatten()
    w = None if w is None else w.expand(shape).flatten()
    if not x.is_floating_point():
        x = x.double()
    numbers = np.arange(1, len(x) + 1) if rows is None else np.asarray(rows).ravel()
    if len(numbers) != len(x) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"rows are {len(numbers)} values of {numbers.dtype}; {len(x)} integers are needed, one per item"
        )
    if top < 0:
        raise ValueError(f"top is {top}; it is how many suspects to keep, at least 0")
    seen = Contradicted(from_logits, top, several=_several(shape))
    if len(x):
        check_values(x, y, w, from_logits, shape)
        soft = ((y != 0) & (y != 1)).nonzero()
        if len(soft):
            first = int(soft[0])
            raise ValueError(f"targets: item {place(first + 1, shape)} is {y[first].item():g}; a label is 0 or 1")
        seen.add(x, y, w, numbers)
    return label_errors(seen)


def _several(shape: tuple[int, ...]) -> str:
    """Return why the number is not told of outputs of several labels; empty where they are of one."""
    wide = [size for size in shape if size > 1]
    if len(wide) < 2:
        return ""
    return (
        f"outputs of the shape {shape} are several labels of each row, each with rates of its own, and those of a row "
        "may be wrong together; give one label at a time, as outputs[:, 0] and targets[:, 0]"
    )


def label_errors(seen: Contradicted) -> LabelErrors:
    """Estimate how many labels are wrong, and which, of what has been seen.

    Raises:
        ValueError: nothing has been seen, or one class only.
    """
    if not seen.count:
        raise ValueError("there are no items: outputs is empty")
    points = seen.points()
    weight, positive = float(points.total_weight.sum()), float(points.total_positive.sum())
    if not weight:
        raise ValueError("all weights are 0: nothing is left to judge")
    if not 0 < positive < weight:
        raise ValueError(f"every label is {int(positive > 0)}; wrong labels show only beside those of the other class")
    line = calibrated(points)
    estimate = seen.several or estimated(points, line)
    reason, noise = (estimate, None) if isinstance(estimate, str) else ("", estimate)
    both = UNKNOWN if noise is None else noise.both
    return LabelErrors(
        count=seen.count,
        labelled=weight,
        expected_count=both.expected,
        interval=(both.low, both.high),
        zeros=_of_class(0, weight - positive, noise),
        ones=_of_class(1, positive, noise),
        reason=reason,
        items=_suspects(seen, line, noise),
    )


def _of_class(label: int, labelled: float, noise: Noise | None) -> ClassErrors:
    if noise is None:
        return ClassErrors(label, labelled, math.nan, (math.nan, math.nan), math.nan, (math.nan, math.nan))
    count, at = (noise.ones, 0) if label else (noise.zeros, 1)
    rate, limits = noise.curve.rates[at], (noise.least[at], noise.most[at])
    return ClassErrors(label, labelled, count.expected, (count.low, count.high), rate, limits)


def _suspects(seen: Contradicted, line: Line, noise: Noise | None) -> tuple[Suspect, ...]:
    """Return the items likeliest to be wrong; without chances, those whose correction saves most."""
    worst = seen.worst()
    outputs, targets = torch.from_numpy(worst.output), torch.from_numpy(worst.target)
    raw = logits_of(outputs, seen.from_logits)
    losses = item_losses(outputs, targets, seen.from_logits).numpy()
    labelled_one = worst.target == 1
    z = line.logits(np.where(labelled_one, -worst.loss, worst.loss))
    saving = np.where(labelled_one, -z, z)  # the losses of the two labels differ by the logit
    if noise is None:
        chance, listed = np.full(len(z), math.nan), saving > 0
        order = np.lexsort((worst.row, -worst.loss, -saving))
    else:
        chance = np.where(labelled_one, *noise.curve.chances(z))
        order, listed = np.lexsort((worst.row, -worst.loss, -saving, -chance)), chance > 0
    return tuple(
        Suspect(
            row=int(worst.row[i]),
            target=int(worst.target[i]),
            probability=float(torch.sigmoid(raw[i])),
            logit=float(raw[i]),
            loss=float(losses[i]),
            saving=float(saving[i]),
            chance=float(chance[i]),
            weight=float(worst.weight[i]),
        )
        for i in order[listed[order]][: seen.top]
    )
