"""Everything that a comparison needs from paired predictions, in one pass and constant memory, and it adds up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from torchbce.comparison.bets import Bets
from torchbce.comparison.changed import Changed, most
from torchbce.comparison.sample import PairSample, hashed
from torchbce.explanation.sketch.clusters import numbers_of
from torchbce.explanation.sketch.groups import MOST as MOST_GROUPS
from torchbce.explanation.sketch.groups import TOO_MANY as TOO_MANY_GROUPS
from torchbce.explanation.sketch.groups import Groups
from torchbce.explanation.sketch.items import Codes
from torchbce.explanation.sketch.logits import finite, logits_of
from torchbce.explanation.sketch.losses import BLOCK, item_losses, weighted
from torchbce.explanation.sketch.points import FOLDS
from torchbce.explanation.sketch.sketch import Sketch

EDGES = (0.6, 0.75, 0.9, 0.99)
BANDS = ["50 to 60 %", "60 to 75 %", "75 to 90 %", "90 to 99 %", "above 99 %"]  # of confidence
WHOLE = ["all"]
GROUPED = ("changes", "groups", "bands")


@dataclass
class Pairs:
    """Collects predictions of two models for the same items: `add` batches, `merge` others.

    a, b: the sketch of each. changes, groups, bands: sums over the changes b - a of the losses. bets: over the bets of
    both against each other, under the names of these three. better: how many items
    cost less with b, and how many more. key, key_values: the column that names an item, and its values for the most
    changed items, by source and row.
    """

    from_logits: tuple[bool, bool]
    names: tuple[str, str] = ("a", "b")
    a: Sketch = field(init=False)
    b: Sketch = field(init=False)
    sample: PairSample = field(default_factory=PairSample)
    changes: Groups = field(default_factory=Groups)
    groups: Groups = field(default_factory=Groups)
    bands: Groups = field(default_factory=Groups)
    bets: dict[str, Bets] = field(default_factory=lambda: {name: bets_of_groups() for name in GROUPED})
    better: int = 0
    worse: int = 0
    gained: Changed = field(default_factory=Changed.none)
    lost: Changed = field(default_factory=Changed.none)
    key: str | None = None
    key_values: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.a, self.b = (Sketch(logits) for logits in self.from_logits)

    def add(
        self,
        outputs: tuple[Tensor, Tensor],
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        rows: np.ndarray,
        source: str = "",
        groups: Codes | None = None,
        clusters: Codes | None = None,
    ) -> None:
        """Add items whose values are known to be allowed; see `Sketch.add`."""
        # An item is in the same fold for both, or chance would make them differ.
        parts = (hashed(rows, source) % np.uint64(FOLDS)).astype(np.int64)
        for sketch, given in zip((self.a, self.b), outputs, strict=True):
            sketch.add(given, targets, weights, rows=rows, source=source, clusters=clusters, parts=parts)
        number = self.a.sources.index(source) if source in self.a.sources else 0
        for i in range(0, len(targets), BLOCK):
            part = slice(i, i + BLOCK)
            self._add(
                (outputs[0][part], outputs[1][part]),
                targets[part],
                None if weights is None else weights[part].double(),
                rows[part],
                number,
                None if groups is None else (groups[0][part], groups[1]),
                None if clusters is None else (clusters[0][part], clusters[1]),
            )

    def merge(self, other: Pairs) -> None:
        """Add what other pairs have seen."""
        if bool(len(self.groups)) != bool(len(other.groups)) and self.a.sums.count and other.a.sums.count:
            raise ValueError("one part has groups and the other none; make both with the same --by, or without")
        if self.key is not None and other.key is not None and self.key != other.key:
            keys = f"{self.key!r} and the other by {other.key!r}"
            raise ValueError(f"one part names its items by {keys}; make both with the same --key")
        self.a.merge(other.a)
        self.b.merge(other.b)
        self.sample.merge(other.sample)
        for name in GROUPED:
            getattr(self, name).merge(getattr(other, name))
            self.bets[name].merge(other.bets[name])
        self.better += other.better
        self.worse += other.worse
        numbers = np.array([self.a.sources.index(source) for source in other.a.sources], np.int64)
        for name in ("gained", "lost"):
            theirs = getattr(other, name)
            setattr(self, name, getattr(self, name).and_(theirs._replace(source=numbers[theirs.source])))
        self.name_items(self.key or other.key, self.key_values | other.key_values)

    @property
    def most_changed(self) -> set[tuple[str, int]]:
        """Return the source and row of each of the most changed items."""
        return {
            (self.a.sources[source], int(row))
            for items in (self.gained, self.lost)
            for source, row in zip(items.source, items.row, strict=True)
        }

    def name_items(self, key: str | None, values: dict[tuple[str, int], str]) -> None:
        """Name the most changed items by their key, and not by their row."""
        named = self.most_changed if values else set()
        self.key, self.key_values = key, {item: value for item, value in values.items() if item in named}

    def _add(
        self,
        outputs: tuple[Tensor, Tensor],
        targets: Tensor,
        weights: Tensor | None,
        rows: np.ndarray,
        source: int,
        groups: Codes | None,
        clusters: Codes | None,
    ) -> None:
        y = targets.double()
        given = [(values.double(), logits) for values, logits in zip(outputs, self.from_logits, strict=True)]
        loss_a, loss_b = (item_losses(x, y, logits) for x, logits in given)
        a, b = (finite(logits_of(x, logits), logits) for x, logits in given)
        change = weighted(loss_b - loss_a, weights)
        numbers = None if clusters is None else numbers_of(*clusters)
        self.sample.add(a, b, y, weights, rows, self.a.sources[source], numbers)
        self.better += int((change < 0).sum())
        self.worse += int((change > 0).sum())
        p = torch.sigmoid((a + b) / 2)
        band = torch.bucketize(torch.maximum(p, 1 - p), torch.tensor(EDGES, dtype=torch.float64), right=True)
        grouped = {"changes": (np.zeros(len(y), np.int64), WHOLE), "bands": (band.numpy(), BANDS)}
        if groups is not None:
            grouped["groups"] = groups
        for name, (codes, called) in grouped.items():
            getattr(self, name).add_losses(codes, called, change, y, weights, clusters)
            self.bets[name].add_bets(codes, called, a, b, y, weights)
        self.gained = self.gained.and_(most(-change, rows, source, outputs, y))
        self.lost = self.lost.and_(most(change, rows, source, outputs, y))


def bets_of_groups() -> Bets:
    """Return empty bets for as many groups as `Groups` has."""
    return Bets(MOST_GROUPS, TOO_MANY_GROUPS)


def is_finite(pairs: Pairs) -> bool:
    """Return whether both losses are finite."""
    return math.isfinite(pairs.a.sums.total) and math.isfinite(pairs.b.sums.total)
