"""Options that several commands have, and how CSV files are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from torchbce.cli.shared.values import given, one_of

if TYPE_CHECKING:
    from torchbce.io.source import Format

TARGET = "target"  # the column of targets where --target names none


def option(
    help: str,
    metavar: str | None = None,
    *,
    name: str | None = None,
    shown: bool | str = False,
    panel: str | None = None,
    **limits: Any,
) -> Any:
    """Describe an option. shown: its default in --help, or whether that is shown; panel: of --help."""
    names = () if name is None else (name,)
    return typer.Option(*names, metavar=metavar, help=help, show_default=shown, rich_help_panel=panel, **limits)


Table = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A CSV, Parquet or Arrow file, also .gz or .zst; - is standard input.",
        show_default=False,
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a trained model.", show_default=False)]
Targets = Annotated[Optional[str], option("The column of targets, from 0 to 1.", "COL", name="--target", shown=TARGET)]
Probabilities = Annotated[Optional[str], option("The column of probabilities.", "COL", name="--prob")]
Logits = Annotated[Optional[str], option("The column of logits.", "COL", name="--logit")]
Weights = Annotated[Optional[str], option("The column of weights.", "COL")]
Cluster = Annotated[
    Optional[str],
    option(
        "A column such as the patient: items with the same value are not independent, and errors allow for it.", "COL"
    ),
]
Only = Annotated[Optional[str], option("Read these rows only, such as split=valid.", "COL=VALUE")]
Threshold = Annotated[Optional[float], option("Decide too: yes above this probability.", min=0.0, max=1.0)]
Cost = Annotated[
    Optional[str], option("Decide at the least cost: what a wrong yes and a wrong no cost, such as 1,20.", "FP,FN")
]
AsJson = Annotated[bool, option("Print every number as JSON.", name="--json")]
Overwrite = Annotated[bool, option("Replace the file if it exists.", name="--overwrite")]


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How the CSV files that a command reads are written."""

    decimal: Annotated[str, option("The decimal mark in CSV files.", ".|,", shown=True)] = "."
    delimiter: Annotated[Optional[str], option("The character between fields of CSV files.", "CHAR", shown="seen")] = (
        None
    )
    encoding: Annotated[Optional[str], option("The encoding of CSV files, such as latin1.", "NAME", shown="utf-8")] = (
        None
    )

    def __post_init__(self) -> None:
        one_of("--decimal", self.decimal, [".", ","])
        if self._character is not None and (len(self._character) != 1 or not self._character.isascii()):
            raise typer.BadParameter(f"--delimiter is {self._character!r}; it is one character, such as ';' or tab")

    @property
    def format(self) -> Format:
        from torchbce.io.source import Format

        return Format(self.decimal, self._character, self.encoding)

    @property
    def csv_flags(self) -> list[str]:
        """The flags of these options that were given."""
        decimal = None if self.decimal == "." else self.decimal
        return given({"--decimal": decimal, "--delimiter": self.delimiter, "--encoding": self.encoding})

    @property
    def _character(self) -> str | None:
        return {"tab": "\t", "\\t": "\t"}.get(self.delimiter, self.delimiter) if self.delimiter else self.delimiter
