"""Slices: the frozen result of `find_slices`. Everything in it is computed when it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torchbce.common.json_values import plain
from torchbce.common.visible import shown
from torchbce.explanation.slices import wording


@dataclass(frozen=True)
class Slice:
    """A part of the data, and the loss that it carries. Losses are in nats per item; weighted items count by weight.

    excess: the mean loss minus the expected, which is the mean entropy of the slice's probabilities.
    difference: the mean loss minus that of all items outside. p_value: of the excess. It and both intervals allow for
    all slices that were looked at.
    """

    conditions: tuple[str, ...]
    count: int
    weight_share: float
    loss_share: float  # of the total loss
    mean: float
    expected: float
    excess: float
    excess_interval: tuple[float, float]
    p_value: float
    difference: float
    difference_interval: tuple[float, float]
    clusters: int | None = None  # that have items in it, where clusters are known

    @property
    def name(self) -> str:
        """Return the conditions in words."""
        return " and ".join(map(shown, self.conditions)) or "all items"


@dataclass(frozen=True)
class Slices:
    """Where a model's loss is above what its probabilities promise, and where it is high as promised.

    found: slices with excess loss, what carries most first. hard: slices that cost much more than the rest, as
    expected. looked_at: how many slices of 50 items or more there are, all of which p-values and intervals allow for.
    left_out: columns that make no slices, and why. clusters: whose independence everything allows for, if not that of
    items; `clusters_shared`: there are more, which were put together at random. least_clusters: how many of equal size
    a slice that is looked at has at least, inside and outside.
    """

    found: tuple[Slice, ...]
    hard: tuple[Slice, ...]
    whole: Slice
    looked_at: int
    columns: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    level: float
    clusters: int | None = None
    clusters_shared: bool = False
    least_clusters: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every number and word, for JSON; what is not a finite number there is None."""
        return plain(asdict(self))  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return "\n".join(wording.lines(self))
