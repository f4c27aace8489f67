"""What users write as the values of options, and which options go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from torchbce.explanation.statistics.decision import Decision


def given(options: Mapping[str, object]) -> list[str]:
    """Return the flags of the options that have a value."""
    return [flag for flag, value in options.items() if value is not None and value is not False and value != []]


def at_most_one(options: Mapping[str, object], why: str) -> None:
    """Refuse options that contradict each other."""
    flags = given(options)
    if len(flags) > 1:
        raise typer.BadParameter(f"{' and '.join(flags)} were both given; {why}")


def refuse_with(what: str, flags: list[str], why: str) -> None:
    """Refuse options that mean nothing beside `what`, another option or a kind of input."""
    if flags:
        raise typer.BadParameter(f"{what} takes no {' and no '.join(flags)}: {why}")


def one_of(option: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise typer.BadParameter(f"{option} is {value!r}; it is one of {', '.join(allowed)}")
    return value


def seconds_of(option: str, text: str | None) -> float | None:
    return _measure(option, text, {"s": 1, "m": 60, "h": 3600}, "90s, 5m or 2h")


def bytes_of(option: str, text: str | None) -> float | None:
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    return _measure(option, text, units | {unit.lower(): size for unit, size in units.items()}, "500M or 8G")


def _measure(option: str, text: str | None, units: dict[str, int], such_as: str) -> float | None:
    """Parse a number with a unit, or without one."""
    if text is None:
        return None
    try:
        size = float(text.rstrip("".join(units))) * units.get(text[-1:], 1)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise typer.BadParameter(f"{option} is {text!r}; write {such_as}")
    return size


def sizes_of(text: str | None) -> tuple[int, ...] | None:
    """Parse the sizes of hidden layers; () for none."""
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [-1]
    if sizes == [0]:
        return ()
    if min(sizes) < 1 or max(sizes) > 65_536 or len(sizes) > 32:
        raise typer.BadParameter(
            f"{text!r} is not a list of layer sizes; write --hidden 8,8 for two layers of 8, --hidden 0 for none"
        )
    return tuple(sizes)


def positive_rate(lr: float | None) -> float | None:
    if lr is not None and not 0 < lr < float("inf"):
        raise typer.BadParameter(f"{lr} is no learning rate; it must be above 0")
    return lr


def only_of(only: str | None) -> tuple[str, str] | None:
    """Return the column and the value of the rows that --only selects."""
    if only is None:
        return None
    column, equals, value = only.partition("=")
    if not equals:
        raise typer.BadParameter(f"--only is {only!r}; write --only COL=VALUE")
    return column, value


def decision_of(threshold: float | None, cost: str | None) -> Decision | None:
    """Return the decision of --threshold or --cost."""
    from torchbce.explanation.statistics.decision import Decision

    if cost is None:
        return None if threshold is None else Decision(threshold)
    if threshold is not None:
        raise typer.BadParameter("--threshold and --cost were both given; costs say what the threshold is")
    try:
        false_positive, false_negative = map(float, cost.split(","))
    except ValueError:
        false_positive = false_negative = -1.0
    if not (false_positive > 0 and false_negative > 0 and max(false_positive, false_negative) < float("inf")):
        raise typer.BadParameter(
            f"--cost is {cost!r}; write what a wrong yes and a wrong no cost, both above 0: --cost 1,20"
        )
    return Decision.by_cost(false_positive, false_negative)
