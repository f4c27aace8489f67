"""Everything that an explanation needs from predictions, in one pass and constant memory, and it adds up.

Counts are integers and sums are float64. So shards of the data, or processes, may each make a sketch: merged they are
the sketch of all of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from torchbce.explanation.sketch.clusters import Clusters, numbers_of
from torchbce.explanation.sketch.groups import Groups
from torchbce.explanation.sketch.items import Codes
from torchbce.explanation.sketch.logits import finite, logits_of
from torchbce.explanation.sketch.losses import BLOCK, item_losses, weighted
from torchbce.explanation.sketch.points import Points, PointTable, folds
from torchbce.explanation.sketch.worst_items import KEPT, LossHistogram, Worst, candidates
from torchbce.functional import binary_cross_entropy, binary_cross_entropy_with_logits

KERAS_EPSILON = 1e-7
# Beyond these logits sigmoid is exactly 1 or 0 in each dtype, and the gradient exactly 0.
SATURATED = {
    torch.bfloat16: (-88.8, 6.25),
    torch.float16: (-17.35, 8.32),
    torch.float32: (-88.8, 16.64),
    torch.float64: (-745.2, 36.74),
}


@dataclass
class Sums:
    """Sums over items. `moment` and `third`: of the squares and cubes of the losses' distances from their mean."""

    count: int = 0
    total: float = 0.0
    plain_total: float = 0.0  # without weights
    moment: float = 0.0
    third: float = 0.0
    weight: float = 0.0
    weight_squared: float = 0.0
    positive: float = 0.0
    entropy: float = 0.0
    keras: float = 0.0
    sklearn: float = 0.0
    clamped: int = 0
    clamped_cost: float = 0.0
    saturated: int = 0
    soft: int = 0  # targets between 0 and 1

    @property
    def effective_count(self) -> float:
        """Return the effective number of items, (sum w)^2 / sum w^2 (Kish)."""
        return self.weight**2 / self.weight_squared if self.weight_squared else 0.0

    def add(self, other: Sums) -> None:
        """Add the sums over other items."""
        here, there = self.count, other.count
        gap = other.total / there - self.total / here if here and there else 0.0
        square = cube = 0.0
        if here and there and math.isfinite(gap):
            n = here + there
            square = gap * gap * here * there / n
            cube = square * gap * (here - there) / n + 3 * gap * (here * other.moment - there * self.moment) / n
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.moment += square
        self.third += cube


@dataclass
class Sketch:
    """Collects predictions: `add` batches, `merge` other sketches."""

    from_logits: bool
    weighted: bool = False
    dtype: str = "float64"  # that the outputs were in
    sums: Sums = field(default_factory=Sums)
    points: PointTable = field(default_factory=PointTable)
    worst: Worst = field(default_factory=Worst.none)
    losses: LossHistogram = field(default_factory=LossHistogram.empty)
    groups: Groups = field(default_factory=Groups)
    whole: Groups = field(default_factory=Groups)  # all items as one group, where they are weighted
    sources: list[str] = field(default_factory=list)
    clusters: Clusters | None = None

    def add(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        rows: np.ndarray,
        source: str = "",
        groups: Codes | None = None,
        clusters: Codes | None = None,
        parts: np.ndarray | None = None,
    ) -> None:
        """Add items whose values are known to be allowed.

        Args:
            outputs: logits or probabilities, 1-d, of the dtype that they were computed in.
            targets: the same length, in [0, 1].
            weights: the same length.
            rows: the number of each item in its source.
            source: where the items are from, such as a file's name.
            groups: the number of each item's group, and the groups' names.
            clusters: the same for what items belong to; all items of a sketch have one, or none has.
            parts: the fold of each item in cross-fitting; by default those of a cluster have one, else chance says.
        """
        if len(outputs) and self.sums.count and (clusters is None) != (self.clusters is None):
            raise ValueError("some items have a cluster and others none")
        if clusters is not None and self.clusters is None:
            self.clusters = Clusters()
        for i in range(0, len(outputs), BLOCK):
            part = slice(i, i + BLOCK)
            self._add(
                outputs[part],
                targets[part],
                None if weights is None else weights[part].double(),
                rows[part],
                self._source(source),
                None if groups is None else (groups[0][part], groups[1]),
                None if clusters is None else (clusters[0][part], clusters[1]),
                None if parts is None else parts[part],
            )

    def _add(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        rows: np.ndarray,
        source: int,
        groups: Codes | None,
        clusters: Codes | None,
        parts: np.ndarray | None,
    ) -> None:
        x = outputs.double()
        y = targets.double() if targets.is_floating_point() else targets
        plain = item_losses(x, y, self.from_logits)
        losses = weighted(plain, weights)
        logits = logits_of(x, self.from_logits)
        y = y.double()
        soft = 0 if not targets.is_floating_point() else int(((y != 0) & (y != 1)).sum())
        self.weighted = self.weighted or weights is not None
        self.dtype = str(outputs.dtype).removeprefix("torch.")
        self.sums.add(_sums(outputs, logits, y, weights, plain, losses, soft, self.from_logits))
        logits = finite(logits, self.from_logits)
        if clusters is not None and self.clusters is not None:
            self.clusters.add_losses(*clusters, losses, logits, y, weights)
        if clusters is not None:
            parts = folds(numbers_of(*clusters))
        self.points.add(logits, y, weights, parts)
        self.losses.add(losses)
        self._keep_worst(outputs, y, weights, losses, rows, source)
        if weights is not None:
            self.whole.add_losses(np.zeros(len(y), np.int64), ["all"], losses, y, weights)
        if groups is not None:
            self.groups.add_losses(*groups, losses, y, weights, clusters)

    def merge(self, other: Sketch) -> None:
        """Add what another sketch has seen."""
        if other.from_logits != self.from_logits:
            raise ValueError("one sketch is of logits and the other of probabilities; they do not add up")
        if self.sums.count and other.sums.count and bool(len(self.groups)) != bool(len(other.groups)):
            raise ValueError("one sketch has groups and the other none; make both with the same --by, or without")
        if self.sums.count and other.sums.count and (self.clusters is None) != (other.clusters is None):
            raise ValueError("one sketch has clusters and the other none; make both with the same --cluster")
        numbers = np.array([self._source(source) for source in other.sources], np.int64)
        worst = other.worst
        if other.sums.count:  # an empty part says nothing of them
            self.weighted, self.dtype = self.weighted or other.weighted, other.dtype
        if other.clusters is not None:
            self.clusters = self.clusters or Clusters()
            self.clusters.merge(other.clusters)
        self.sums.add(other.sums)
        self.points.merge(other.points)
        self.worst = self.worst.and_(worst._replace(source=numbers[worst.source]), KEPT)
        self.losses.counts += other.losses.counts
        self.losses.sums += other.losses.sums
        self.groups.merge(other.groups)
        self.whole.merge(other.whole)

    def distribution(self) -> Points:
        """Return the logits that occur, with the weights of items and positives."""
        return self.points.points()

    def _source(self, name: str) -> int:
        if name not in self.sources:
            self.sources.append(name)
        return self.sources.index(name)

    def _keep_worst(
        self, outputs: Tensor, y: Tensor, weights: Tensor | None, losses: Tensor, rows: np.ndarray, source: int
    ) -> None:
        least = float(self.worst.loss[-1]) if len(self.worst.loss) == KEPT else -math.inf
        if losses.max().item() < least:
            return
        positions = candidates(losses, least, KEPT)
        weight = np.ones(len(positions)) if weights is None else weights.numpy()[positions]
        here = Worst(
            losses.numpy()[positions],
            np.full(len(positions), source),
            np.asarray(rows, np.int64)[positions],
            outputs[torch.from_numpy(positions)].double().numpy(),
            y.numpy()[positions],
            weight,
        )
        self.worst = self.worst.and_(here, KEPT)


def _sums(
    outputs: Tensor,
    logits: Tensor,
    y: Tensor,
    weights: Tensor | None,
    plain: Tensor,
    losses: Tensor,
    soft: int,
    from_logits: bool,
) -> Sums:
    """Return the sums over one batch; rare values are counted only where the extreme values allow them."""
    n = len(outputs)
    total = losses.sum().item()
    first, last = (bound.item() for bound in logits.aminmax())
    sums = Sums(
        n, total, plain.sum().item(), weight=float(n), weight_squared=float(n), positive=y.sum().item(), soft=soft
    )
    sums.moment = sums.third = math.nan
    if math.isfinite(total):
        rest = losses - total / n
        squares = rest * rest
        sums.moment, sums.third = squares.sum().item(), (squares * rest).sum().item()
    if weights is not None:
        sums.weight, sums.weight_squared = weights.sum().item(), (weights * weights).sum().item()
        sums.positive = (y * weights).sum().item()
    if soft:
        floors = binary_cross_entropy(y, y, reduction="none")
        sums.entropy = (floors if weights is None else floors * weights).sum().item()
    sums.keras = _keras(outputs, y, plain, from_logits)
    sums.sklearn = _clipped(logits, y, plain, _epsilon(outputs.dtype, from_logits), soft)
    below, above = SATURATED.get(outputs.dtype, SATURATED[torch.float64])
    if first <= below or last >= above:
        sums.saturated = int(((logits <= below) | (logits >= above)).sum())
    if not from_logits and (math.isinf(first) or math.isinf(last)):  # a probability of 0 or 1
        clamped = ((outputs == 0) & (y > 0)) | ((outputs == 1) & (y < 1))
        sums.clamped, sums.clamped_cost = int(clamped.sum()), losses[clamped].sum().item()
    return sums


def sklearn_epsilon(sketch: Sketch) -> float:
    """Return how far from 0 and 1 scikit-learn keeps probabilities of this dtype."""
    return _epsilon(getattr(torch, sketch.dtype), sketch.from_logits)


def _epsilon(dtype: torch.dtype, from_logits: bool) -> float:
    return torch.finfo(torch.float64 if from_logits else dtype).eps


def _keras(outputs: Tensor, y: Tensor, plain: Tensor, from_logits: bool) -> float:
    """Return the sum that Keras has: in float32 it clips probabilities to [1e-7, 1 - 1e-7], and logits not at all."""
    if from_logits:
        return plain.sum().item()
    low, high = torch.tensor([KERAS_EPSILON, 1 - KERAS_EPSILON]).double().tolist()  # as float32 has them
    p = outputs.float().double().clamp(low, high)
    return binary_cross_entropy(p, y, reduction="sum").item()


def _clipped(logits: Tensor, y: Tensor, plain: Tensor, epsilon: float, soft: int) -> float:
    """Return the sum of the losses of probabilities clipped to [epsilon, 1 - epsilon]."""
    least, most = -math.log1p(-epsilon), -math.log(epsilon)
    if not soft:
        return plain.clamp(least, most).sum().item()
    zeros, ones = torch.zeros_like(y), torch.ones_like(y)
    positive, negative = (
        binary_cross_entropy_with_logits(logits, same, reduction="none").clamp(least, most) for same in (ones, zeros)
    )
    return (y * positive + (1 - y) * negative).sum().item()
