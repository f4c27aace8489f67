"""Explanation: the frozen result of `explain`, and how it reads."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import Any

from torchbce.lens.calibration import Calibration
from torchbce.lens.entropy import percent_below

LN2 = math.log(2)


@dataclass(frozen=True)
class Item:
    """One loss term."""

    row: int
    target: float
    probability: float
    logit: float | None
    loss: float

    @property
    def formula(self) -> str:
        """The loss as the article writes it."""
        p, y = probability_text(self.probability), self.target
        if y == 1:
            return f"-log({p})"
        if y == 0:
            return f"-log(1 - {p})"
        return f"-({y:g} log({p}) + {1 - y:g} log(1 - {p}))"


@dataclass(frozen=True)
class Explanation:
    """What a BCE is made of and what it means. Losses are in nats; `print` it, or see :meth:`to_dict`."""

    count: int
    total: float
    mean: float
    standard_error: float
    weight_sum: float | None
    from_logits: bool
    base_rate: float
    baseline_answer: float
    baseline: float
    floor: float | None
    clamped: int
    clamped_cost: float
    calibration: Calibration | None
    items: tuple[Item, ...]

    @property
    def bits(self) -> float:
        """The mean in bits: nats / log 2."""
        return self.mean / LN2

    @property
    def typical_probability(self) -> float:
        """exp(-mean): the geometric mean of the probabilities given to what happened."""
        return math.exp(-self.mean)

    def to_dict(self) -> dict[str, Any]:
        """Every number, for JSON."""
        return asdict(self) | {"bits": self.bits, "typical_probability": self.typical_probability}

    def __str__(self) -> str:
        return f"{self.table}\n\n{self.meaning}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    @property
    def table(self) -> str:
        """The items and what each costs, as the article sets them out."""
        return "\n".join(self._table())

    @property
    def meaning(self) -> str:
        """What the number means, a line for each thing that is known."""
        return "\n".join(self._meaning())

    def _table(self) -> list[str]:
        everything = len(self.items) == self.count
        lines = [] if everything else [f"the {len(self.items)} items that cost most:"]
        width = max((len(item.formula) for item in self.items), default=0)
        rows = max([4, *(len(str(item.row)) for item in self.items)])
        logit_head = "     logit" if self.from_logits else ""
        lines.append(f"{'item' if everything else 'row':>{rows + 1}}  target{logit_head}  output")
        for item in self.items:
            logit = f"  {item.logit:8.4g}" if item.logit is not None else ""
            output = probability_text(item.probability)
            target = f"{item.target:g}"
            cost = f"{item.formula:<{width}} = {loss_text(item.loss):>5}"
            lines.append(f"{item.row:>{rows + 1}}  {target:>6}{logit}  {output:>6}  {cost}")
        if everything and self.count > 1:
            edge = len(lines[-1])
            lines.append(("-" * 8).rjust(edge))
            lines.append(f"total BCE = {loss_text(self.total):>5}".rjust(edge))
            lines.append("")
            lines.append(f"mean BCE = {self.total:.4f} / {self.count} = {self.mean:.4f}")
        return lines

    def _meaning(self) -> list[str]:
        error = "" if math.isnan(self.standard_error) else f" +- {self.standard_error:.4f}"
        lines = [
            f"the mean    {self.mean:.6f} nats per item ({self.bits:.6f} bits){error}; reduction='mean' prints this",
            f"the total   {self.total:.6f} nats over {self.count:,} items; reduction='sum' prints this",
        ]
        if self.weight_sum is not None:
            lines.append(
                f"weights     sum to {self.weight_sum:.6g}; torch's mean divides by the items, not by them; "
                f"divided by them it is {self.total / self.weight_sum:.6f}"
            )
        else:
            lines.append(
                f"typical     what happened was given the probability {self.typical_probability:.4f} (geometric mean)"
            )
            lines.append(
                f"baseline    always answering {100 * self.baseline_answer:.1f} % costs {self.baseline:.6f}: "
                f"this is {percent_below(self.mean, self.baseline)}"
            )
        if self.floor is not None:
            lines.append(
                f"floor       soft targets cost at least {self.floor:.6f}; {self.mean - self.floor:.6f} is above it"
            )
        if self.clamped:
            lines.append(
                f"clamped     {self.clamped} items gave probability 0 to what happened and cost 100, not infinity: "
                f"{100 * self.clamped_cost / self.total:.1f} % of the total"
            )
        if self.calibration is not None:
            lines.append(f"calibration {self.calibration.in_words(self.baseline)}")
        return lines


def loss_text(loss: float) -> str:
    """Two digits behind the point as in the article, more for what would otherwise read 0.00."""
    return f"{loss:.2f}" if loss >= 0.095 or loss == 0 else f"{loss:.2g}"


def probability_text(p: float) -> str:
    """As many digits as show how far p is from 0 and from 1."""
    margin = min(p, 1 - p)
    if margin <= 0:
        return f"{p:g}"
    digits = max(2, math.ceil(-math.log10(margin)) + 1)
    return f"{p:.{digits}f}" if digits <= 8 else f"{p:.2e}" if p < 0.5 else f"1 - {1 - p:.1e}"
