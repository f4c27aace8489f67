"""From predictions to a sketch, and from a sketch to the numbers of an explanation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from torchbce.explanation.data.record import Elsewhere, ExplanationRecord, GroupLoss, Item
from torchbce.explanation.sketch.items import as_items, place
from torchbce.explanation.sketch.logits import probabilities_of
from torchbce.explanation.sketch.sketch import Sketch, sklearn_epsilon
from torchbce.explanation.sketch.worst_items import KEPT
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
    """Return a sketch of items in memory, and the shape that they lie in, where rows do not name them."""
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


def summary_of(
    outputs: Any, targets: Any, *, from_logits: bool, weight: Any = None, top: int = 10
) -> ExplanationRecord:
    """Return the numbers of an explanation of items in memory."""
    sketch, shape = sketched(outputs, targets, from_logits=from_logits, weight=weight)
    return summarized(sketch, top=top, shape=shape)


def summarized(
    sketch: Sketch,
    *,
    baseline: float | None = None,
    top: int = 10,
    shape: tuple[int, ...] = (),
    bands: bool = True,
) -> ExplanationRecord:
    """Return the numbers of an explanation; see `explanation`."""
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
    decomposable = hard and has_enough_items(sample.zeros, sample.ones) and sample.rarer >= FEWEST_FOR_ORDER
    fits = right_fits(points) if bands and decomposable and not weighted else None
    around = mean_loss(sketch)
    factor = design_effect(sketch, around["mean"])
    order = auc(points)
    others = unseen(points, sample.count, sample.independent, factor) if hard and finite else ENOUGH
    answer = share if baseline is None else baseline
    calibrated = parts = None
    pulls: dict[str, Pulls | None] = {"mean": sample.estimate(mean, *losses_at(points.logits)).pulls}
    intervals = {"mean": NOTHING, "weighted_mean": NOTHING}
    if not hard or sample.rarer >= FEWEST_OF_A_CLASS:
        for name, estimate in around.items():
            weight = sums.weight / count if name == "mean" else 1.0
            intervals[name] = estimate.interval.within(0.0, math.inf).holding(estimate.value + weight * others.reach)
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
    if decomposable and finite:
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
    return ExplanationRecord(
        count=count,
        total=sums.total,
        mean=mean,
        plain_mean=sums.plain_total / count,
        standard_error=around["mean"].standard_error,
        cluster_sizes=sample.sizes,
        pulls={name: estimate for name, estimate in pulls.items() if estimate is not None},
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
    """Return all items in order if they are few, else the worst first."""
    worst = sketch.worst
    chosen = np.arange(min(top, len(worst.loss)))
    if sketch.sums.count <= min(top, KEPT):
        chosen = np.lexsort((worst.row, worst.source))
    probabilities = probabilities_of(torch.from_numpy(worst.output[chosen]), sketch.from_logits).tolist()
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
    """Return the groups, the one with the largest part of the loss first."""
    groups = []
    for group in sketch.groups.rows():
        around = mean_of(group)
        enough = not hard or rarer_of(group) >= FEWEST_OF_A_CLASS
        groups.append(
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
                interval=around.interval.within(0.0, math.inf) if enough else NOTHING,
                parts=group.parts,
            )
        )
    return tuple(sorted(groups, key=lambda group: (-group.share, group.name)))
