"""what_changed: the mean loss of other items, such as the next month's, and what of the change is what.

One account: the base rate became easier or harder, the model separates less, or its calibration has drifted; these add
up to the change. Another, with groups: their mix changed, or the loss within them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks, around, counted, percent
from torchbce.common.visible import shown
from torchbce.comparison.mix import by_groups
from torchbce.comparison.parts import Part
from torchbce.explanation.explain import Explanation
from torchbce.explanation.statistics.clustered import correlation
from torchbce.explanation.statistics.intervals import Interval, interval_of_difference

LN2 = math.log(2)


@dataclass(frozen=True)
class Change(PrintedInNotebooks):
    """The change from one sample of items to another, after - before, in nats per item, with 95 % intervals.

    base_rate + separation + calibration = total, where these are known. mix + within = total, where groups are.
    """

    names: tuple[str, str]
    counts: tuple[int, int]
    means: tuple[float, float]
    base_rates: tuple[float, float]
    total: Part
    base_rate: Part | None
    separation: Part | None
    calibration: Part | None
    mix: Part | None
    within: Part | None
    reason: str = ""  # why its total has no interval

    @property
    def verdict(self) -> str:
        """Return what to conclude, in one sentence."""
        low, high = self.total.interval
        size = f"{around(self.total.nats, self.total.interval, '+.2g')} nats per item"
        if not math.isfinite(self.total.nats):
            return "The means cannot be compared: one of them is infinite."
        if math.isnan(low):
            return f"Whether the mean loss changed by more than luck cannot be told: {size}; {self.reason}."
        if low <= 0 <= high:
            return f"The mean loss did not change by more than luck: {size}."
        named = {
            "the base rate": self.base_rate,
            "separation": self.separation,
            "calibration": self.calibration,
            "the mix of groups": self.mix,
        }
        certain = [name for name, part in named.items() if part and part.is_certain and part.nats * self.total.nats > 0]
        why = f": {' and '.join(certain)}" if certain else "; no single part of it is certain"
        return f"The mean loss {'rose' if self.total.nats > 0 else 'fell'}, {size}{why}."

    @property
    def parts(self) -> list[tuple[str, Part]]:
        """Return a name and a part for all that is known."""
        named = {
            "total": self.total,
            "its cost": self.base_rate,
            "separation": self.separation,
            "calibration": self.calibration,
            "mix": self.mix,
            "in groups": self.within,
        }
        return [(name, part) for name, part in named.items() if part is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return every number, for JSON."""
        return plain(asdict(self) | {"verdict": self.verdict})  # type: ignore[no-any-return]

    def __str__(self) -> str:
        first, second = map(shown, self.names)
        lines = [
            f"means       {first} {self.means[0]:.6f} over {counted(self.counts[0], 'item')}, "
            f"{second} {self.means[1]:.6f} over {counted(self.counts[1], 'item')}",
            f"base rate   {percent(self.base_rates[0])} -> {percent(self.base_rates[1])}",
        ]
        for name, part in self.parts:
            text = f"{around(part.nats, part.interval, '+.6f')} nats per item ({part.nats / LN2:+.6f} bits)"
            lines.append(f"{name:<11} {text}")
        return "\n".join([self.verdict, "", *lines])


def what_changed(before: Explanation, after: Explanation, names: tuple[str, str] = ("before", "after")) -> Change:
    r"""Return why the mean loss of ``after`` is not that of ``before``: two samples of different items.

    With UNC the entropy of the base rate, DSC what separation earns and MCB what miscalibration loses, the mean is
    ``UNC - DSC + MCB``, and so is its change. With groups, the change is also that of their shares (at the mean loss of
    both periods) plus that within them (at the mean shares; Kitagawa 1955).

    Args:
        before, after: what :func:`torchbce.explain` said of each; with ``by=`` for the mix of groups.
        names: what to call the two.

    Example:
        >>> import numpy as np, torchbce
        >>> z, y = np.array([-1.0, 0.5, 2.0] * 50), np.array([0, 1, 1] * 50)
        >>> early = torchbce.explain(z, y, from_logits=True)
        >>> late = torchbce.explain(z - 1, y, from_logits=True)
        >>> round(what_changed(early, late).total.nats, 4)
        0.1667
    """

    def change(name: str, first: float, around_first: Interval, second: float, around_second: Interval) -> Part:
        # Clusters with items in both, such as patients who came back, move both.
        together = correlation(before.pulls.get(name), after.pulls.get(name))
        return Part(second - first, interval_of_difference(first, around_first, second, around_second, together))

    total = change(
        "mean",
        before.weighted_mean,
        before.intervals["weighted_mean"],
        after.weighted_mean,
        after.intervals["weighted_mean"],
    )
    base_rate = separation = calibration = None
    a, b = before.decomposition, after.decomposition
    if a is not None and b is not None:
        base_rate = change("uncertainty", a.uncertainty, a.uncertainty_interval, b.uncertainty, b.uncertainty_interval)
        earned = change(
            "discrimination", b.discrimination, b.discrimination_interval, a.discrimination, a.discrimination_interval
        )
        separation = earned  # what is earned less is lost
        calibration = change(
            "miscalibration", a.miscalibration, a.miscalibration_interval, b.miscalibration, b.miscalibration_interval
        )
    mix, within = by_groups(before, after) if before.groups and after.groups else (None, None)
    return Change(
        names=names,
        counts=(before.count, after.count),
        means=(before.weighted_mean, after.weighted_mean),
        base_rates=(before.base_rate, after.base_rate),
        total=total,
        base_rate=base_rate,
        separation=separation,
        calibration=calibration,
        mix=mix,
        within=within,
        reason=before.withheld.get("mean", after.withheld.get("mean", "there is one item")),
    )
