"""Options that several commands have, and how CSV files are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from torchbce.cli.shared.values import given, one_of

if TYPE_CHECKING:
    from torchbce.io.source import Format

TARGET = "target"  # the column of targets where --target names none

Table = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A table: CSV, Parquet, Arrow, JSON lines, Excel, SAS, Stata or SPSS, also .gz, .zst, .xz or .bz2; - is "
        "standard input.",
        show_default=False,
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a trained model.", show_default=False)]
Targets = Annotated[
    Optional[str],
    typer.Option("--target", metavar="COL", help="The column of targets, from 0 to 1.", show_default=TARGET),
]
Probabilities = Annotated[
    Optional[str], typer.Option("--prob", metavar="COL", help="The column of probabilities.", show_default=False)
]
Logits = Annotated[
    Optional[str], typer.Option("--logit", metavar="COL", help="The column of logits.", show_default=False)
]
Weights = Annotated[Optional[str], typer.Option(metavar="COL", help="The column of weights.", show_default=False)]
Cluster = Annotated[
    Optional[str],
    typer.Option(
        metavar="COL",
        help="A column such as the patient: items with the same value are not independent, and errors allow for it.",
        show_default=False,
    ),
]
Only = Annotated[
    Optional[str],
    typer.Option(metavar="COL=VALUE", help="Read these rows only, such as split=valid.", show_default=False),
]
Threshold = Annotated[
    Optional[float],
    typer.Option(min=0.0, max=1.0, help="Decide too: yes above this probability.", show_default=False),
]
Cost = Annotated[
    Optional[str],
    typer.Option(
        metavar="FP,FN",
        help="Decide at the least cost: what a wrong yes and a wrong no cost, such as 1,20.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print every number as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How the files that a command reads are written: CSV, and workbooks of Excel and OpenDocument."""

    decimal: Annotated[str, typer.Option(metavar=".|,", help="The decimal mark in CSV files.")] = "."
    delimiter: Annotated[
        Optional[str],
        typer.Option(metavar="CHAR", help="The character between fields of CSV files.", show_default="seen"),
    ] = None
    encoding: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="The encoding of CSV files, such as latin1.", show_default="utf-8"),
    ] = None
    skip_rows: Annotated[
        Optional[int],
        typer.Option(min=0, metavar="N", help="The number of lines above the header.", show_default="seen"),
    ] = None
    na: Annotated[
        list[str],
        typer.Option(
            "--na",
            metavar="TEXT",
            help="A text that stands for a missing value, besides NA, NULL, #N/A and the like; may be repeated.",
            show_default=False,
        ),
    ] = field(default_factory=list)
    sheet: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="The sheet of a workbook.", show_default="the first with a table"),
    ] = None
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is", help="Leave out no column of row names, none that is empty, and no row of totals or notes."
        ),
    ] = False

    def __post_init__(self) -> None:
        one_of("--decimal", self.decimal, [".", ","])
        if self._character is not None and (len(self._character) != 1 or not self._character.isascii()):
            raise typer.BadParameter(f"--delimiter is {self._character!r}; it is one character, such as ';' or tab")

    @property
    def format(self) -> Format:
        from torchbce.io.source import Format

        return Format(
            self.decimal,
            self._character,
            self.encoding,
            skip_rows=self.skip_rows,
            na=tuple(self.na),
            sheet=self.sheet,
            as_is=self.as_is,
            named=tuple(dict.fromkeys(self.named_columns)),
        )

    @property
    def named_columns(self) -> list[str]:
        """The columns that other options name: they are read even if they look like row names."""
        return []

    @property
    def csv_flags(self) -> list[str]:
        """The flags of these options that were given."""
        decimal = None if self.decimal == "." else self.decimal
        options = {"--decimal": decimal, "--delimiter": self.delimiter, "--encoding": self.encoding}
        more = {"--skip-rows": self.skip_rows, "--na": self.na, "--sheet": self.sheet, "--as-is": self.as_is}
        return given({**options, **more})

    @property
    def _character(self) -> str | None:
        return {"tab": "\t", "\\t": "\t"}.get(self.delimiter, self.delimiter) if self.delimiter else self.delimiter
