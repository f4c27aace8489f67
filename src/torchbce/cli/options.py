"""Options that commands share, and what users write in options as values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from torchbce.explanation.statistics.decision import Decision
    from torchbce.io.source import Format

Table = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A CSV, Parquet or Arrow file, .gz or .zst too; - for input.", show_default=False
    ),
]
Decimal = Annotated[str, typer.Option(metavar=".|,", help="What stands before decimals in a CSV file.")]
Delimiter = Annotated[
    Optional[str], typer.Option(metavar="CHAR", help="What separates fields in a CSV file.", show_default="seen")
]
Encoding = Annotated[
    Optional[str], typer.Option(metavar="NAME", help="Of a CSV file, such as latin1.", show_default="utf-8")
]

ROWS, ESTIMATE, MODEL, LONG = "Rows and columns", "The estimate", "The model", "Long runs"  # panels of train --help

Probabilities = Annotated[
    Optional[str], typer.Option("--prob", metavar="COL", help="The column of probabilities.", show_default=False)
]
Logits = Annotated[
    Optional[str], typer.Option("--logit", metavar="COL", help="The column of logits.", show_default=False)
]
Weights = Annotated[Optional[str], typer.Option(metavar="COL", help="A column of weights.", show_default=False)]
Cluster = Annotated[
    Optional[str],
    typer.Option(
        metavar="COL", help="What items belong to, such as patients: errors allow for it.", show_default=False
    ),
]
Only = Annotated[
    Optional[str],
    typer.Option(metavar="COL=VALUE", help="Only these rows, such as split=valid.", show_default=False),
]
Threshold = Annotated[
    Optional[float],
    typer.Option(min=0.0, max=1.0, help="Add a decision: yes above this probability.", show_default=False),
]
Cost = Annotated[
    Optional[str],
    typer.Option(
        metavar="FP,FN", help="Add the decision that costs least: of a wrong yes, a wrong no.", show_default=False
    ),
]
Targets = Annotated[str, typer.Option(metavar="COL", help="The column of targets, in [0, 1].")]
Merge = Annotated[bool, typer.Option("--merge", help="The files are what --save made of parts of the data.")]
Save = Annotated[
    Optional[Path], typer.Option(metavar="FILE", help="Keep what was read, to --merge it.", show_default=False)
]
Html = Annotated[Optional[Path], typer.Option(metavar="FILE", help="Make a page to look at.", show_default=False)]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print every number as JSON.")]


def format_of(decimal: str, delimiter: str | None, encoding: str | None) -> Format:
    from torchbce.io.source import Format

    if delimiter is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1 or not delimiter.isascii():
            raise typer.BadParameter(f"--delimiter is {delimiter!r}; it is one character, such as ';' or tab")
    return Format(one_of("--decimal", decimal, [".", ","]), delimiter, encoding)


def at_most_one(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} were both given; rows are kept aside in one way")


def seconds_of(option: str, text: str | None) -> float | None:
    return _measure(option, text, {"s": 1, "m": 60, "h": 3600}, "90s, 5m or 2h")


def bytes_of(option: str, text: str | None) -> float | None:
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    return _measure(option, text, units | {unit.lower(): size for unit, size in units.items()}, "500M or 8G")


def _measure(option: str, text: str | None, units: dict[str, int], such_as: str) -> float | None:
    """A number with a unit, or without one."""
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


def one_of(option: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise typer.BadParameter(f"{option} is {value!r}; it is one of {', '.join(allowed)}")
    return value


def decision_of(threshold: float | None, cost: str | None) -> Decision | None:
    """What --threshold or --cost say."""
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
