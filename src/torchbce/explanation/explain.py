"""explain: what a binary cross-entropy is made of, item by item, and what it means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from torchbce.explanation.items import as_items, as_tensor, place
from torchbce.explanation.result import Elsewhere, Explanation, GroupLoss, Item
from torchbce.explanation.sketch.sketch import Sketch, sklearn_epsilon
from torchbce.explanation.sketch.worst_items import KEPT
from torchbce.explanation.slices.collect import SliceCollector
from torchbce.explanation.slices.features import columns_of
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.statistics.auc import SEPARATED, auc, auc_interval
from torchbce.explanation.statistics.calibration import FEWEST_OF_A_CLASS as FEWEST_FOR_ORDER
from torchbce.explanation.statistics.calibration import calibration, has_enough_items
from torchbce.explanation.statistics.clustered import Pulls
from torchbce.explanation.statistics.decomposition import decomposition
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.group_means import mean_of, rarer_of
from torchbce.explanation.statistics.intervals import FEWEST_OF_A_CLASS, NOTHING, losses_at
from torchbce.explanation.statistics.isotonic import reliability_curve, right_fits
from torchbce.explanation.statistics.mean_loss import design_effect, mean_loss
from torchbce.explanation.statistics.rates import around_base_rate, base_rate, d2, entropy_pulls
from torchbce.explanation.statistics.sample import Sample
from torchbce.explanation.statistics.unseen import ENOUGH, unseen
from torchbce.explanation.statistics.withheld import reasons

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
    by: Any = None,
    cluster: Any = None,
    features: Any = None,
    labels: Sequence[str] | None = None,
) -> Explanation:
    r"""Where each digit of a BCE comes from, and what the number means.

    Everything is computed in float64 from ``-weight * (y log p + (1 - y) log(1 - p))``. Of probabilities each logarithm
    is at least -100, as in torch; of logits it is exact, however far out they are.

    Args:
        outputs: what the model gave, any shape: tensor, array or list.
        targets: the same shape, in [0, 1].
        from_logits: True if ``outputs`` are logits, False if they are probabilities. Never guessed.
        weight: one weight per item, or one for all.
        baseline: the probability that the no-knowledge answer gives; by default the targets' own mean.
        top: how many of the worst items to keep, at most 1000; so many or fewer are all shown, in order.
        rows: the items' numbers in messages; by default 1, 2, ...
        by: a value per item that names its group; says which group carries the loss.
        cluster: a value per item that names what it belongs to, such as a patient or an image. Standard error and
            p-values then allow for items of one cluster that depend on each other; without it they take all items for
            independent. Needs 10 clusters or more.
        features: a table with a row for each item: a DataFrame, a mapping of names to columns, or an array. Says in
            which slices of the data, by one or two columns, the loss is above what the probabilities promise, and
            counts clusters where these are given; a row may also be of a sample, whose items then are a cluster.
        labels: the names of the columns of 2-d targets, if these are several labels of each sample: each then has a
            result of its own, in ``.labels``. ``by``, ``cluster`` and ``features`` may have a value per sample.

    Returns:
        An :class:`Explanation`, which prints itself.

    Raises:
        ValueError: nothing to explain, shapes that differ, a value outside [0, 1], NaN or a negative weight, with its
            position; a baseline outside (0, 1).

    Example:
        >>> print(explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False))
         item  target  output
            1       1    0.60  -log(0.60)     =  0.51
            2       0    0.20  -log(1 - 0.20) =  0.22
            3       1    0.70  -log(0.70)     =  0.36
        ...
    """
    sketch, shape = sketched(
        outputs, targets, from_logits=from_logits, weight=weight, rows=rows, by=by, cluster=cluster
    )
    found = explanation(sketch, baseline=baseline, top=top, shape=shape)
    if labels is not None:
        each = _by_label(outputs, targets, from_logits, weight, labels, by, cluster, baseline)
        found = replace(found, labels=each, items=tuple(_of_label(item, list(each)) for item in found.items))
    if features is not None:
        found = replace(found, slices=_slices(outputs, targets, from_logits, weight, labels, cluster, features))
    return found


def _by_label(
    outputs: Any, targets: Any, from_logits: bool, weight: Any, labels: Sequence[str], by: Any, cluster: Any, base: Any
) -> dict[str, Explanation]:
    x, y = as_tensor("outputs", outputs), as_tensor("targets", targets)
    names = list(map(str, labels))
    if x.ndim != 2 or x.shape[1] != len(names):
        raise ValueError(f"there are {len(names)} labels and outputs has the shape {tuple(x.shape)}; a column for each")
    if len(set(names)) < len(names):
        raise ValueError(f"labels names one column twice: {names}")
    w = None if weight is None else as_tensor("weight", weight).expand(x.shape)
    of_items = {"by": by, "cluster": cluster}
    found = {}
    for column, name in enumerate(names):
        mine = {key: _column(values, tuple(x.shape), column) for key, values in of_items.items()}
        found[name] = explain(
            x[:, column],
            y[:, column],
            from_logits=from_logits,
            weight=None if w is None else w[:, column],
            baseline=base,
            top=0,
            **mine,
        )
    return found


def _of_label(item: Item, names: list[str]) -> Item:
    """An item named by sample and label."""
    sample, comma, column = item.place.rpartition(", ")
    return replace(item, place=f"{sample}, {names[int(column) - 1]}") if comma else item


def _column(values: Any, shape: tuple[int, ...], column: int) -> Any:
    """One label's values, or those of the samples."""
    array = None if values is None else np.asarray(values)
    return array[:, column] if array is not None and array.shape == shape else values


def _slices(
    outputs: Any, targets: Any, from_logits: bool, weight: Any, labels: Any, cluster: Any, features: Any
) -> Slices | None:
    items = as_items(outputs, targets, from_logits, weight, None, {"cluster": cluster})
    columns = columns_of(features)
    samples, count = items.shape[0] if items.shape else 1, len(items.outputs)
    by_sample = labels is not None or any(len(column) == samples for column in columns.values())
    for name, column in columns.items():
        if len(column) not in (count, samples):
            raise ValueError(f"features: column {name!r} has {len(column)} values for {count} items")
        columns[name] = column if len(column) == count else np.repeat(column, count // samples)
    clusters = items.codes["cluster"]
    if clusters is None and by_sample and count > samples:  # a sample's items are alike
        clusters = np.repeat(np.arange(samples), count // samples), [str(i) for i in range(samples)]
    collector = SliceCollector(from_logits)
    collector.add(items.outputs, items.targets, items.weights, columns, clusters)
    return collector.found()


def sketched(
    outputs: Any,
    targets: Any,
    *,
    from_logits: bool,
    weight: Any = None,
    rows: Any = None,
    by: Any = None,
    cluster: Any = None,
) -> tuple[Sketch, tuple[int, ...]]:
    """A sketch of items in memory, and the shape that they lie in, where rows do not name them."""
    items = as_items(outputs, targets, from_logits, weight, rows, {"by": by, "cluster": cluster})
    sketch = Sketch(from_logits)
    sketch.add(
        items.outputs,
        items.targets,
        items.weights,
        rows=items.rows,
        groups=items.codes["by"],
        clusters=items.codes["cluster"],
    )
    return sketch, items.shape if rows is None else ()


def explanation(
    sketch: Sketch,
    *,
    baseline: float | None = None,
    top: int = 10,
    shape: tuple[int, ...] = (),
    bands: bool = True,
) -> Explanation:
    """The explanation of what a sketch has seen, of items that lay in this shape.

    bands: also what right predictions would give, which takes most of the time.

    Raises:
        ValueError: it has seen nothing, or the baseline is not a probability.
    """
    sums, weighted = sketch.sums, sketch.weighted
    count = sums.count
    if not count:
        raise ValueError("there are no items to explain")
    if baseline is not None and not 0 < baseline < 1:
        raise ValueError(f"baseline is {baseline}; it is a probability between 0 and 1")
    if weighted and not sums.weight:
        raise ValueError("all weights are 0: nothing is left to explain")
    mean = sums.total / count
    share = sums.positive / sums.weight if sums.weight else math.nan
    points = sketch.distribution()
    hard, finite = not sums.soft and sums.weight > 0, math.isfinite(sums.total)
    sample = Sample(points, sketch.clusters)
    told = hard and has_enough_items(sample.zeros, sample.ones) and sample.rarer >= FEWEST_FOR_ORDER
    fits = right_fits(points) if bands and told and not weighted else None
    around = mean_loss(sketch)
    factor = design_effect(sketch, around["mean"])
    order = auc(points)
    others = unseen(points, sample.count, sample.independent, factor) if hard and finite else ENOUGH
    answer = share if baseline is None else baseline
    calibrated = parts = None
    pulls: dict[str, Pulls | None] = {"mean": sample.estimate(mean, *losses_at(points.logits)).pulls}
    intervals = {"mean": NOTHING, "weighted_mean": NOTHING}
    if not hard or sample.rarer >= FEWEST_OF_A_CLASS:
        for name, found in around.items():
            weight = sums.weight / count if name == "mean" else 1.0
            intervals[name] = found.interval.within(0.0, math.inf).holding(found.value + weight * others.reach)
    if hard and finite:
        intervals |= {"d2": NOTHING, "auc": NOTHING}
        rate = base_rate(sample)
        intervals["base_rate"] = around_base_rate(rate, sample.count)
        pulls["uncertainty"] = entropy_pulls(rate)
        if sample.rarer >= FEWEST_FOR_ORDER:
            saved = d2(sample, answer)
            intervals["d2"] = saved.interval.within(-math.inf, 1.0).holding(
                saved.value - others.reach / cross_entropy(share, answer)
            )
            intervals["auc"] = auc_interval(sample)
    if told and finite:
        calibrated = calibration(sample, separated=order > SEPARATED)
        whole = sums.total / sums.weight
        made_of = decomposition(sample, whole, fits, intervals["base_rate"], factor, others.reach)
        if made_of is not None:
            parts, pulls_of_parts = made_of
            pulls |= pulls_of_parts
            if calibrated is not None:
                calibrated = replace(
                    calibrated,
                    miscalibration=parts.miscalibration,
                    miscalibration_interval=parts.miscalibration_interval,
                )
    return Explanation(
        count=count,
        total=sums.total,
        mean=mean,
        plain_mean=sums.plain_total / count,
        standard_error=around["mean"].standard_error,
        cluster_sizes=sample.sizes,
        pulls={name: found for name, found in pulls.items() if found is not None},
        design_effect=factor,
        weight_sum=sums.weight if weighted else None,
        from_logits=sketch.from_logits,
        dtype=sketch.dtype,
        base_rate=share,
        baseline_answer=answer,
        baseline=cross_entropy(share, answer),
        floor=sums.entropy / (sums.weight or math.nan) if sums.soft else None,
        clamped=sums.clamped,
        clamped_cost=sums.clamped_cost,
        saturated=sums.saturated,
        worst_share=sketch.losses.share_of_worst(0.01, sketch.worst),
        auc=order,
        errors=others.errors if others.reach else None,
        errors_among=others.among,
        withheld=reasons(sample, soft=not hard, finite=finite),
        elsewhere=None if weighted else Elsewhere(sums.keras / count, sums.sklearn / count, sklearn_epsilon(sketch)),
        calibration=calibrated,
        decomposition=parts,
        intervals=intervals,
        items=_items(sketch, top, shape),
        groups=_group_losses(sketch, hard),
        reliability=reliability_curve(points, fits) if hard else None,
        histogram=sketch.losses.coarse(),
        points=points if hard else None,
    )


def _items(sketch: Sketch, top: int, shape: tuple[int, ...]) -> tuple[Item, ...]:
    """All items in order if they are few, else the worst, the worst first."""
    worst = sketch.worst
    chosen = np.arange(min(top, len(worst.loss)))
    if sketch.sums.count <= min(top, KEPT):
        chosen = np.lexsort((worst.row, worst.source))
    outputs = torch.from_numpy(worst.output[chosen])
    probabilities = (torch.sigmoid(outputs) if sketch.from_logits else outputs).tolist()
    several, size = len(sketch.sources) > 1, math.prod(shape[1:])
    return tuple(
        Item(
            row=(int(worst.row[i]) - 1) // size + 1,
            place=place(int(worst.row[i]), shape),
            target=float(worst.target[i]),
            probability=p,
            logit=float(worst.output[i]) if sketch.from_logits else None,
            loss=float(worst.loss[i]),
            weight=float(worst.weight[i]),
            source=sketch.sources[worst.source[i]] if several else "",
        )
        for i, p in zip(chosen, probabilities, strict=True)
    )


def _group_losses(sketch: Sketch, hard: bool) -> tuple[GroupLoss, ...]:
    """The group with the largest part of the loss first."""
    found = []
    for group in sketch.groups.rows():
        around = mean_of(group)
        told = not hard or rarer_of(group) >= FEWEST_OF_A_CLASS
        found.append(
            GroupLoss(
                name=group.name,
                count=group.count,
                mean=group.mean,
                share=group.total / sketch.sums.total if sketch.sums.total else math.nan,
                base_rate=group.base_rate,
                baseline=cross_entropy(group.base_rate, group.base_rate),
                weight=group.weight,
                equal_count=group.equal_count,
                standard_error=around.standard_error,
                interval=around.interval.within(0.0, math.inf) if told else NOTHING,
                parts=group.parts,
            )
        )
    return tuple(sorted(found, key=lambda group: (-group.share, group.name)))
