"""The text of label errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchbce.common.text import counted, loss_text, percent, probability_text

if TYPE_CHECKING:
    from torchbce.labels.result import ClassErrors, Interval, LabelErrors

SHOWN = 20
LEAST_CHANCE = 0.01  # of a label that is printed


def item_lines(result: LabelErrors) -> list[str]:
    """Return the first items as a table: those with a chance worth a look, where chances are known."""
    worth = [item for item in result.items if not item.chance < LEAST_CHANCE]  # NaN is not known
    shown = worth[:SHOWN]
    if not shown:
        return [
            f"no label is wrong with a chance of {100 * LEAST_CHANCE:.0f} % or more"
            if result.items
            else "no prediction contradicts its label"
        ]
    rows = max(4, *(len(str(item.row)) for item in shown))
    lines = [f"{'row':>{rows + 1}}  target  output   loss  correcting saves  wrong with chance"]
    for item in shown:
        chance = "not known" if math.isnan(item.chance) else f"{100 * item.chance:.0f} %"
        lines.append(
            f"{item.row:>{rows + 1}}  {item.target:>6}  {probability_text(item.probability):>6}  "
            f"{loss_text(item.loss):>5}  {loss_text(item.saving):>16}  {chance:>17}"
        )
    if len(result.items) > len(shown):
        lines.append(f"and {len(result.items) - len(shown):,} more, in to_dict() and frame()")
    return lines


def facts(result: LabelErrors) -> list[tuple[str, str]]:
    """Return a name and a sentence for each known figure."""
    if result.reason:
        return [("wrong", f"how many of {counted(result.count, 'label')} cannot be told: {result.reason}")]
    return [
        (
            "wrong",
            f"about {_number(result.expected_count)} of {_number(result.labelled)} labels "
            f"(95 % from {_ends(result.interval)}){_listed(result)}",
        ),
        ("among ones", _class(result.ones)),
        ("among zeros", _class(result.zeros)),
        (
            "assuming",
            "that the predictions are out of fold, that somewhere each class is certain, and that labels are wrong one "
            "by one, not by clusters; a region that the model cannot tell apart looks like wrong labels",
        ),
    ]


def _listed(result: LabelErrors) -> str:
    """Return how many of them are in the list, by the same chances."""
    if not result.items:
        return ""
    held = sum(item.weight * item.chance for item in result.items)
    which = "the one" if len(result.items) == 1 else f"the {len(result.items):,}"
    return f"; {which} listed hold{'s' * (len(result.items) == 1)} about {_number(held)} of them"


def _class(errors: ClassErrors) -> str:
    low, high = errors.noise_rate_interval
    return (
        f"about {_number(errors.expected_count)} of {_number(errors.labelled)} (95 % from {_ends(errors.interval)}); "
        f"{percent(errors.noise_rate)} of true {'zeros' if errors.target else 'ones'} have this label "
        f"(from {percent(low)} to {percent(high)})"
    )


def _ends(interval: Interval) -> str:
    return " to ".join(map(_number, interval))


def _number(count: float) -> str:
    return f"{count:,.0f}" if count >= 9.95 or count == round(count) else f"{count:.1f}"
