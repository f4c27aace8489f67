"""compare: is model b better than model a on the same items, by how much, why, and was it luck?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from torchbce.comparison.evidence import evidence, too_few, unless_unseen
from torchbce.comparison.pairs import BANDS, WHOLE, Pairs, is_finite
from torchbce.comparison.parts import parts
from torchbce.comparison.record import ChangedItem, Slot
from torchbce.comparison.result import Comparison
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch.groups import Group
from torchbce.explanation.sketch.items import as_items
from torchbce.explanation.sketch.logits import probabilities_of
from torchbce.explanation.statistics.calibration import has_enough_items
from torchbce.explanation.statistics.group_means import design_effect_of, mean_of
from torchbce.explanation.statistics.intervals import quantile

__all__ = ["Comparison", "compare"]


def compare(
    a: Any,
    b: Any,
    targets: Any,
    *,
    from_logits: bool | tuple[bool, bool],
    weight: Any = None,
    groups: Any = None,
    cluster: Any = None,
    names: tuple[str, str] = ("a", "b"),
    rows: Any = None,
) -> Comparison:
    r"""Is b better than a, by how much, why, and was it luck?

    The mean over items of ``loss(b, y) - loss(a, y)``, in nats, with Student's interval and p-value for paired items:
    items that are hard for both drop out. Split into separation, which differs after both were recalibrated by what
    happened (cross-fitted), and calibration, the rest.

    Args:
        a, b: what the two models gave for the same items, any shape: tensors, arrays, lists, Series or columns.
        targets: the same shape, in [0, 1].
        from_logits: True if both are logits, False if probabilities; a pair where they differ. Never guessed.
        weight: one weight per item, or one for all; the means are then divided by the weights.
        groups: a value per item that names its group: where does b win and lose?
        cluster: a value per item that names what it belongs to, such as a patient. Interval and p-value then count the
            clusters (Liang and Zeger 1986), of which ten must hold items of the rarer class.
        names: what to call the two.
        rows: the items' numbers in messages; by default 1, 2, ...

    Returns:
        A :class:`Comparison`, which prints itself. Its p-value is None below 30 items or 20 of either class: so few
        cannot tell a difference from luck.

    Raises:
        ValueError: nothing to compare, shapes that differ, a value outside [0, 1], NaN or a negative weight, with its
            position.

    Example:
        >>> found = compare([0.9, 0.2, 0.6], [0.8, 0.1, 0.7], [1, 0, 1], from_logits=False)
        >>> round(found.difference, 4)
        -0.0514
        >>> print(found.p_value)
        None
    """
    both = (from_logits, from_logits) if isinstance(from_logits, bool) else from_logits
    if not isinstance(both, tuple | list) or len(both) != 2 or not all(isinstance(flag, bool) for flag in both):
        raise ValueError(f"from_logits is {from_logits!r}; it is True or False, or one of them for each model")
    if len(names) != 2:
        raise ValueError(f"names is {names!r}; there are two models")
    first = as_items(a, targets, both[0], weight, rows, {"groups": groups, "cluster": cluster}, name="a")
    second = as_items(b, targets, both[1], weight, rows, {}, name="b")
    pairs = Pairs((both[0], both[1]), (str(names[0]), str(names[1])))
    pairs.add(
        (first.outputs, second.outputs),
        first.targets,
        first.weights,
        rows=first.rows,
        groups=first.codes["groups"],
        clusters=first.codes["cluster"],
    )
    return comparison(pairs)


def comparison(pairs: Pairs) -> Comparison:
    """Compare two models by what the pairs have seen.

    Raises:
        ValueError: they have seen nothing, or all weights are 0.
    """
    explanations = explanation(pairs.a, bands=False), explanation(pairs.b, bands=False)
    (whole,) = pairs.changes.rows()
    estimate = mean_of(whole)
    clusters = None if whole.parts is None else np.stack([whole.parts.weight, whole.parts.positive], 1)
    finite = is_finite(pairs)
    mean = whole.mean if finite else math.nan
    zeros, ones = (explanations[0].points or pairs.a.distribution()).counts  # soft targets leave no points
    reason = too_few(zeros, ones, clusters) if finite else "a loss is infinite"
    gaps = pairs.bets["changes"].gaps(WHOLE[0], whole.weight, design_effect_of(whole))
    if not math.isnan(estimate.standard_error):
        gaps = gaps.beyond(quantile(estimate.freedom) * estimate.standard_error)
    shown = evidence(mean, estimate.standard_error, estimate.freedom, whole.count, reason, gaps=gaps)
    a, b = explanations
    split = None
    # Of the points that were explained, as their recalibration is known.
    if finite and a.points is not None and b.points is not None and has_enough_items(zeros, ones):
        split = parts(
            a.points, b.points, pairs.sample.points(), (a.weighted_mean, b.weighted_mean), (zeros, ones), gaps
        )
    return Comparison(
        names=pairs.names,
        count=whole.count,
        means=(a.weighted_mean, b.weighted_mean),
        evidence=unless_unseen(shown, gaps, whole.count, shown.p_value),
        parts=split,
        aucs=(a.auc, b.auc),
        base_rate=whole.base_rate,
        better=pairs.better / whole.count,
        worse=pairs.worse / whole.count,
        weight_sum=a.weight_sum,
        clusters=a.clusters,
        bands=tuple(sorted(_slots(pairs, "bands", whole), key=lambda slot: BANDS.index(slot.name))),
        groups=tuple(sorted(_slots(pairs, "groups", whole), key=lambda slot: (-abs(slot.share), slot.name))),
        gained=_changed(pairs, "gained", -1),
        lost=_changed(pairs, "lost", 1),
        explanations=explanations,
        key=pairs.key,
    )


def _slots(pairs: Pairs, name: str, whole: Group) -> list[Slot]:
    groups, bets = getattr(pairs, name), pairs.bets[name]
    return [
        Slot(
            name=group.name,
            count=group.count,
            difference=group.mean,
            interval=bets.gaps(group.name, group.weight, design_effect_of(group)).around(
                mean_of(group).students, group.mean
            ),
            share=group.total / whole.total if whole.total else math.nan,
            base_rate=group.base_rate,
        )
        for group in groups.rows()
    ]


def _changed(pairs: Pairs, name: str, sign: int) -> tuple[ChangedItem, ...]:
    """Return the items of `gained` or `lost`, whose changes are stored without a sign."""
    items = getattr(pairs, name)
    a, b = (
        probabilities_of(torch.from_numpy(values), logits).tolist()
        for values, logits in zip((items.a, items.b), pairs.from_logits, strict=True)
    )
    several = len(pairs.a.sources) > 1
    return tuple(
        ChangedItem(
            row=int(items.row[i]),
            target=float(items.target[i]),
            probability_a=a[i],
            probability_b=b[i],
            change=sign * float(items.change[i]),
            source=pairs.a.sources[items.source[i]] if several else "",
            key=pairs.key_values.get((pairs.a.sources[items.source[i]], int(items.row[i]))),
        )
        for i in range(len(items.change))
    )
