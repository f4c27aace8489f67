"""The ledger: a mean loss as an account whose lines add up to it exactly, in nats and in bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.intervals import NOTHING, Interval

if TYPE_CHECKING:
    from torchbce.explanation.data.record import ExplanationRecord

LN2 = math.log(2)


@dataclass(frozen=True)
class LedgerLine:
    """A term of the mean loss, per item; `interval` is its 95 % interval in bits, NaN where there is none."""

    name: str
    nats: float
    bits: float
    interval: Interval


@dataclass(frozen=True)
class Ledger:
    """The mean by weight as three accounts.

    lines: the entropy of the base rate, less separation, plus miscalibration. groups: what the items
    of each add. items: what the worst add, and all others. The lines of each account add up to the mean, in nats and in
    bits, exactly; where a line is more than twice the mean and is not followed by smaller ones, to its own last digit.
    """

    lines: tuple[LedgerLine, ...]
    groups: tuple[LedgerLine, ...]
    items: tuple[LedgerLine, ...]
    nats: float
    bits: float


def ledger(record: ExplanationRecord) -> Ledger:
    """Return the account of an explanation."""
    mean = record.weighted_mean
    divisor = record.count if record.weight_sum is None else record.weight_sum
    entropy = cross_entropy(record.base_rate, record.base_rate)
    parts = record.decomposition
    if parts is not None:
        earned = parts.discrimination_interval
        lines = [
            ("base rate", parts.uncertainty, parts.uncertainty_interval),
            ("separation", -parts.discrimination, Interval(-earned.high, -earned.low)),
            ("miscalibration", parts.miscalibration, parts.miscalibration_interval),
        ]
    else:
        lines = [("base rate", entropy, NOTHING), ("the model", mean - entropy, NOTHING)]
    groups = [
        (
            group.name,
            group.share * mean,
            Interval(*(bound * group.weight / divisor for bound in group.interval)),
        )
        for group in record.groups
    ]
    items = [(f"item {item.name}", item.loss / divisor, NOTHING) for item in record.items]
    if len(record.items) < record.count:
        rest = mean - sum(nats for _, nats, _ in items)
        items.append((f"the other {record.count - len(record.items):,} items", rest, NOTHING))
    return Ledger(_account(lines, mean), _account(groups, mean), _account(items, mean), mean, mean / LN2)


def _account(lines: list[tuple[str, float, Interval]], mean: float) -> tuple[LedgerLine, ...]:
    nats = _adding_up([line[1] for line in lines], mean)
    bits = _adding_up([value / LN2 for value in nats], mean / LN2)
    return tuple(
        LedgerLine(name, n, b, Interval(interval[0] / LN2, interval[1] / LN2))
        for (name, _, interval), n, b in zip(lines, nats, bits, strict=True)
    )


def _adding_up(values: Sequence[float], total: float) -> list[float]:
    """Return the values, moved by rounding errors so that their sum, from first to last, is the total.

    As multiples of the last digit of the largest sum on the way, all sums but the last are exact, and it is too.
    """
    if not values or not math.isfinite(total):
        return list(values)
    digit = 2 * math.ulp(max(map(abs, itertools.accumulate(values))))
    rounded = [round(value / digit) * digit for value in values[:-1]]
    return [*rounded, total - sum(rounded)]
