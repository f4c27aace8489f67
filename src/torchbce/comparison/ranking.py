"""compare_all: three or more models on the same items, each beside the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks
from torchbce.common.visible import shown
from torchbce.comparison.bets import SHAPE, Gaps, add_bets, gaps
from torchbce.comparison.evidence import SIGNIFICANT, Evidence, evidence, holm, too_few, unless_unseen
from torchbce.explanation.sketch.clusters import MOST, TOO_MANY
from torchbce.explanation.sketch.items import Codes, as_items
from torchbce.explanation.sketch.keyed_sums import KeyedSums
from torchbce.explanation.sketch.logits import finite, logits_of
from torchbce.explanation.sketch.losses import BLOCK, item_losses, weighted
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.intervals import Interval
from torchbce.explanation.statistics.unseen import CHANCE, SURE


@dataclass(frozen=True)
class Ranked:
    """One model. Losses in nats per item.

    difference: its mean loss less that of the best. interval: of that, 95 % for every pair of the models together
    (Bonferroni). p_value: by Holm, over every pair, as each may be the best of a sample; None for the best itself, and
    where there is too little to tell, which `reason` says.
    """

    name: str
    mean: float
    difference: float
    interval: Interval
    p_value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Ranking(PrintedInNotebooks):
    """Models on the same items, the best first. `reason`: why there is no p-value, where there is none."""

    models: tuple[Ranked, ...]
    count: int
    base_rate: float
    clusters: int | None
    reason: str

    @property
    def verdict(self) -> str:
        """Return which models the best cannot be told from."""
        best, *others = self.models
        name = shown(best.name)
        if self.reason:
            return f"{name} has the least loss; these items do not show that it is better: {self.reason}."
        beside = [other for other in others if other.p_value is None or other.p_value >= SIGNIFICANT]
        if not beside:
            return f"{name} is the best."
        listed = " or ".join(shown(other.name) for other in beside)
        why = "".join(f" {shown(other.name)}: {other.reason}." for other in beside if other.reason)
        return f"{name} has the least loss; these items do not show that it is better than {listed}.{why}"

    def to_dict(self) -> dict[str, Any]:
        """Return every number, for JSON."""
        return plain(asdict(self) | {"verdict": self.verdict})  # type: ignore[no-any-return]

    def __str__(self) -> str:
        width = max(5, *(len(shown(model.name)) for model in self.models))
        lines = [
            self.verdict,
            "",
            f"{'model':<{width}}  nats per item  more than the best   95 %, together         p (Holm)",
        ]
        for model in self.models:
            line = f"{shown(model.name):<{width}}  {model.mean:13.6f}"
            if model is not self.models[0]:
                low, high = model.interval
                bounds = "-" if math.isnan(low) else f"{low:+.6f} to {high:+.6f}"
                p = "-" if model.p_value is None else f"{model.p_value:.2g}"
                line += f"  {model.difference:18.6f}   {bounds}  {p}"
            lines.append(line)
        return "\n".join(lines)


@dataclass
class LossMatrix:
    """Sums over the losses of several models for the same items: means and the covariances between them.

    Losses are taken from the least that any model has on the item: what all find hard drops out, and a model with huge
    or infinite losses disturbs no other.
    """

    from_logits: tuple[bool, ...]
    count: int = 0
    weight: float = 0.0
    weight_squared: float = 0.0
    positive: float = 0.0
    total: float = 0.0  # of the least losses
    changes: np.ndarray = field(init=False)  # sum of w d for each model, d the loss less the least
    cross: np.ndarray = field(init=False)  # sum of w^2 d
    products: np.ndarray = field(init=False)  # sum of w^2 d d'
    bets: np.ndarray = field(init=False)  # of each model against each other, see `comparison.bets`
    clusters: KeyedSums | None = None

    def __post_init__(self) -> None:
        size = len(self.from_logits)
        self.changes, self.cross, self.products = np.zeros(size), np.zeros(size), np.zeros((size, size))
        self.bets = np.zeros((size, size, *SHAPE[1:]))

    def add(self, outputs: list[Tensor], targets: Tensor, weights: Tensor | None, clusters: Codes | None) -> None:
        """Add items whose values are known to be allowed."""
        for i in range(0, len(targets), BLOCK):
            part = slice(i, i + BLOCK)
            y = targets[part].double()
            w = torch.ones_like(y) if weights is None else weights[part].double()
            each = zip(outputs, self.from_logits, strict=True)
            losses = torch.stack([item_losses(given[part].double(), y, logits) for given, logits in each])
            least = losses.min(0).values
            scaled = weighted(torch.where(losses == least, 0.0, losses - least), w)  # infinity less infinity is 0
            self.count += len(y)
            self.weight += w.sum().item()
            self.weight_squared += (w * w).sum().item()
            self.positive += (w * y).sum().item()
            self.total += weighted(least, w).sum().item()
            self.changes += scaled.sum(1).numpy()
            self.cross += (scaled @ w).numpy()
            self.products += (scaled @ scaled.T).numpy()
            self._add_bets([given[part].double() for given in outputs], y, w)
            if clusters is not None:
                self.clusters = self.clusters or KeyedSums(2 + len(outputs), MOST, TOO_MANY)
                columns = [w.numpy(), (w * y).numpy(), *scaled.numpy()]
                self.clusters.add_items(clusters[0][part], clusters[1], columns)

    def _add_bets(self, outputs: list[Tensor], y: Tensor, w: Tensor) -> None:
        each = zip(outputs, self.from_logits, strict=True)
        logits = [finite(logits_of(x, known), known).numpy() for x, known in each]
        for i, mine in enumerate(logits):
            sure = np.flatnonzero(np.abs(mine) >= SURE[0])
            rest = y.numpy()[sure], w.numpy()[sure]
            for j, other in enumerate(logits):
                if i != j and len(sure):
                    add_bets(self.bets[i, j], np.zeros(len(sure), np.int64), mine[sure], other[sure], *rest)

    def ranking(self, names: list[str]) -> Ranking:
        """Rank the models, the best first."""
        if not self.weight:
            raise ValueError("all weights are 0: nothing is left to compare")
        means = (self.total + self.changes) / self.weight
        effective = self.weight**2 / self.weight_squared
        share = self.positive / self.weight
        per_cluster = None if self.clusters is None else self.clusters.sums
        if per_cluster is not None:
            per_cluster = per_cluster[per_cluster[:, 0] > 0]
        clusters = None if per_cluster is None else per_cluster[:, :2]
        reason = too_few((1 - share) * effective, share * effective, clusters)
        best = int(np.argmin(np.where(np.isfinite(means), means, math.inf)))
        order = [best, *(model for model in np.argsort(means, kind="stable").tolist() if model != best)]
        # Each of them may be the best of a sample: so many pairs are looked at as there are, and not only these.
        pairs = list(itertools.combinations(order, 2))
        both = [self._evidence(*pair, reason, len(pairs)) for pair in pairs]
        p_values = _adjusted([evidence for evidence, _ in both])
        evidences = [unless_unseen(*pair, self.count, p) for pair, p in zip(both, p_values, strict=True)]
        p_values = _adjusted(evidences)
        models = [Ranked(names[best], float(means[best]), 0.0, Interval(0.0, 0.0), None)]
        models += [
            Ranked(names[model], float(means[model]), evidence.mean, evidence.interval, p, evidence.reason)
            # The pairs of the best come first.
            for model, evidence, p in zip(order[1:], evidences, p_values, strict=False)
        ]
        return Ranking(tuple(models), self.count, share, None if clusters is None else len(clusters), reason)

    def _evidence(self, first: int, second: int, reason: str, at_once: int) -> tuple[Evidence, Gaps]:
        """Weigh the mean loss of the second less that of the first; `reason` is why nothing can be told, or empty."""
        with np.errstate(invalid="ignore"):  # an infinite loss
            mean = float((self.changes[second] - self.changes[first]) / self.weight)
        alone = self._error(second, first, mean)
        error, freedom = alone, self.count - 1.0
        if self.clusters is not None:
            sums = self.clusters.sums[self.clusters.sums[:, 0] > 0]
            weight, changes = sums[:, 0], sums[:, 2 + second] - sums[:, 2 + first]
            _, error, _, freedom, _ = clustered.estimate(mean, changes - mean * weight, weight)
        factor = (error / alone) ** 2 if alone > 0 and math.isfinite(error) else 1.0
        bets = self.bets[first, second], self.bets[second, first]
        unseen = gaps(*bets, self.weight, chance=CHANCE / at_once, factor=factor)
        why = reason if math.isfinite(mean) else "its loss is infinite"
        return evidence(mean, error, freedom, self.count, why, gaps=unseen, at_once=at_once), unseen

    def _error(self, other: int, best: int, mean: float) -> float:
        """Return the standard error of the mean difference of two models."""
        if self.count < 2:
            return math.nan
        if not math.isfinite(mean):
            return math.nan
        squares = self.products[other, other] - 2 * self.products[other, best] + self.products[best, best]
        cross = self.cross[other] - self.cross[best]
        square = float(squares - 2 * mean * cross + mean * mean * self.weight_squared)
        return math.sqrt(max(square, 0.0) * self.count / (self.count - 1)) / self.weight


def _adjusted(evidences: list[Evidence]) -> list[float | None]:
    """Return the p-values by Holm, where there are any."""
    p_values = holm([1.0 if evidence.p_value is None else evidence.p_value for evidence in evidences])
    return [None if evidence.p_value is None else p for evidence, p in zip(evidences, p_values, strict=True)]


def compare_all(
    models: Any,
    targets: Any,
    *,
    from_logits: bool,
    weight: Any = None,
    cluster: Any = None,
) -> Ranking:
    r"""Return which of several models is best, and which cannot be told from it?

    Paired differences to the model of least mean loss, with intervals that hold together and p-values that allow for
    looking at many (Holm 1979). The best was chosen on these items, so every pair of models counts as looked at: of
    equally good ones, one is called better than another at most 5 times of 100.

    Args:
        models: what each gave for the same items, by name: a dict, or a DataFrame.
        targets, from_logits, weight, cluster: see :func:`torchbce.compare`.

    Returns:
        A :class:`Ranking`, which prints itself.

    Raises:
        ValueError: fewer than two models, or no names; and as :func:`torchbce.compare` does.

    Example:
        >>> found = compare_all({"a": [0.8, 0.2], "b": [0.9, 0.1], "c": [0.5, 0.5]}, [1, 0], from_logits=False)
        >>> [model.name for model in found.models]
        ['b', 'a', 'c']
    """
    if not isinstance(models, Mapping):
        if not hasattr(models, "columns"):
            raise ValueError(f"models is a {type(models).__name__}; give a dict, or a DataFrame with a column for each")
        models = {name: models[name] for name in models.columns}
    if len(models) < 2:
        raise ValueError(f"there are {len(models)} models; a comparison takes two or more")
    if from_logits not in (True, False):
        raise ValueError(f"from_logits is {from_logits!r}; it is True or False, for all models")
    labels: dict[str, Any] = {"cluster": cluster}
    items = [as_items(given, targets, from_logits, weight, None, labels, str(name)) for name, given in models.items()]
    matrix = LossMatrix((from_logits,) * len(models))
    matrix.add([model.outputs for model in items], items[0].targets, items[0].weights, items[0].codes["cluster"])
    return matrix.ranking(list(map(str, models)))
