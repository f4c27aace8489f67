"""explain: what a binary cross-entropy is made of, item by item, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torchbce.explanation.data.record import Item
from torchbce.explanation.data.summarize import sketched, summarized
from torchbce.explanation.result import Explanation
from torchbce.explanation.sketch.items import as_items, as_tensor
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.slices.collect import SliceCollector
from torchbce.explanation.slices.features import columns_of
from torchbce.explanation.slices.result import Slices

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
    r"""Return where each digit of a BCE comes from, and what the number means.

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
    explained = explanation(sketch, baseline=baseline, top=top, shape=shape)
    if labels is not None:
        each = _by_label(outputs, targets, from_logits, weight, labels, by, cluster, baseline)
        explained = replace(
            explained, labels=each, items=tuple(_of_label(item, list(each)) for item in explained.items)
        )
    if features is not None:
        explained = replace(explained, slices=_slices(outputs, targets, from_logits, weight, labels, cluster, features))
    return explained


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
    by_label = {}
    for column, name in enumerate(names):
        mine = {key: _column(values, tuple(x.shape), column) for key, values in of_items.items()}
        by_label[name] = explain(
            x[:, column],
            y[:, column],
            from_logits=from_logits,
            weight=None if w is None else w[:, column],
            baseline=base,
            top=0,
            **mine,
        )
    return by_label


def _of_label(item: Item, names: list[str]) -> Item:
    """Name an item by its sample and label."""
    sample, comma, column = item.place.rpartition(", ")
    return replace(item, place=f"{sample}, {names[int(column) - 1]}") if comma else item


def _column(values: Any, shape: tuple[int, ...], column: int) -> Any:
    """Return the values of one label, or those of the samples."""
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


def explanation(
    sketch: Sketch,
    *,
    baseline: float | None = None,
    top: int = 10,
    shape: tuple[int, ...] = (),
    bands: bool = True,
) -> Explanation:
    """Explain what a sketch has seen, of items that lay in this shape.

    bands: also what right predictions would give, which takes most of the time.

    Raises:
        ValueError: it has seen nothing, or the baseline is not a probability.
    """
    return Explanation.of(summarized(sketch, baseline=baseline, top=top, shape=shape, bands=bands))
