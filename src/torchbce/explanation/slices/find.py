"""find_slices: which part of the data carries the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from torchbce.common.visible import shown
from torchbce.explanation.sketch.items import codes_of
from torchbce.explanation.slices.bins import MOST_BINS, Bins, choose_bins
from torchbce.explanation.slices.choose import chosen
from torchbce.explanation.slices.evidence import FARTHEST
from torchbce.explanation.slices.features import columns_of
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.slices.table import SliceTable, typical

SLACK = 1e-3  # losses and probabilities may be rounded
VAGUE = 1e-4  # of a probability in float32 so near to 0 or 1 the logarithm is uncertain by more


def find_slices(
    features: Any,
    losses: Any,
    probabilities: Any,
    weights: Any = None,
    *,
    clusters: Any = None,
    bins: int = 10,
    top: int = 10,
    level: float = 0.05,
) -> Slices:
    r"""The parts of the data, by one or two features, whose loss is above what the model's own probabilities promise.

    An item's excess is ``loss - H(p)`` with ``H(p) = -p log p - (1 - p) log(1 - p)``: 0 in the mean wherever the model
    is calibrated. Slices are a bin of a column (a quantile range, a value, missing) or two such bins together, of 50
    items or more. One is found if its excess is above 0 by a bound that is exact for any number of items, at `level`
    after a correction for all slices there are, and if it differs from the slices that hold it. Targets may be soft.
    Items are taken for independent unless `clusters` says what they belong to: then a slice must stand out among
    independent clusters too, and slices of too few clusters for that are not looked at.

    Args:
        features: a DataFrame, a mapping of names to columns, or an array of shape (items, columns).
        losses: the BCE of each item in nats, without its weight.
        probabilities: what the model gave each item.
        weights: one for each item; without them all count alike.
        clusters: what each item belongs to, such as a patient. There are at most 512, or fewer where there are many
            slices, down to 64: each further one is put together with one of these, at random.
        bins: how many quantile bins a column of numbers is cut into.
        top: how many slices each list holds at most.
        level: how often, at most, calibrated predictions may give any slice.

    Returns:
        :class:`Slices`, which print themselves.

    Raises:
        ValueError: lengths differ, a value is not allowed, a loss is none that its probability can have, or there are
            more than 10 million pairs of bins, or half a million with clusters.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> country, p = rng.choice(["DE", "FR", "IT"], 3000), rng.uniform(0.05, 0.3, 3000)
        >>> y = rng.random(3000) < np.where(country == "FR", 2 * p, p)  # in France the model is too low
        >>> found = find_slices({"country": country, "noise": rng.random(3000)}, -np.log(np.where(y, p, 1 - p)), p)
        >>> [one.name for one in found.found]
        ['country = FR']

    The search over all pairs follows SliceLine (Sagadeeva and Boehm 2021, https://doi.org/10.1145/3448016.3457323).
    """
    if not 2 <= bins <= MOST_BINS:
        raise ValueError(f"bins is {bins}; it lies between 2 and {MOST_BINS}")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it lies between 0 and 1")
    columns = columns_of(features)
    count = len(next(iter(columns.values())))
    loss, p = _numbers("losses", losses, count), _numbers("probabilities", probabilities, count)
    weight = None if weights is None else _numbers("weights", weights, count)
    check_items(loss, p, weight)
    cut = {name: choose_bins(name, column, bins) for name, column in columns.items()}
    used: list[Bins] = [column_bins for column_bins in cut.values() if not isinstance(column_bins, str)]
    codes = codes_of("clusters", clusters, count)
    table = SliceTable(used, unit=typical(weight), clustered=codes is not None)
    table.add([column_bins.codes(columns[column_bins.name]) for column_bins in used], loss, p, weight, codes)
    left_out = [(name, why) for name, why in cut.items() if isinstance(why, str)]
    return chosen(table, top=top, level=level, left_out=left_out)


def check_items(losses: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> None:
    """Raise a ValueError that names the first value not allowed, or the first loss that its probability cannot have.

    Raises:
        ValueError: what was given, and what is allowed.
    """
    p = probabilities
    rarer = np.clip(np.minimum(p, 1 - p), 0, 0.5)
    with np.errstate(divide="ignore"):
        least = -np.log1p(-rarer) - SLACK
        most = np.where(rarer < VAGUE, np.inf, -np.log(rarer) * (1 + SLACK) + SLACK)
    checks = [
        ("probabilities", p, (p >= 0) & (p <= 1), "probabilities lie in [0, 1]"),
        ("losses", losses, np.isfinite(losses), f"losses are finite; torch's are at most {FARTHEST:g}"),
        (
            "losses",
            losses,
            (losses >= least) & (losses <= most),
            "it is no BCE of its probability, which is from -log(max(p, 1 - p)) to -log(min(p, 1 - p)); "
            "give losses in nats without weights",
        ),
    ]
    if weights is not None:
        rule = "weights are finite and at least 0"
        checks.append(("weights", weights, (weights >= 0) & np.isfinite(weights), rule))
    for name, values, allowed, rule in checks:
        if not allowed.all():
            first = int(np.flatnonzero(~allowed)[0])
            raise ValueError(
                f"{name}: item {first + 1} is {values[first]:g}, of probability {p[first]:g} "
                f"({int((~allowed).sum())} such); {rule}"
            )
    if weights is not None and not weights.any():
        raise ValueError("all weights are 0: nothing is left to explain")


def _numbers(name: str, values: Any, count: int) -> np.ndarray:
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu().double()
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as numbers: {shown(error)}") from error
    if numbers.shape != (count,):
        raise ValueError(f"{name} has the shape {numbers.shape}; features has {count} items, each of which has one")
    if not count:
        raise ValueError("there are no items to look at")
    return numbers
