"""The commands and their options. Every option is chosen by hand; a test holds the list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from torchbce.cli.exit_codes import ExitCode, reported

if TYPE_CHECKING:
    from torchbce.training.table.opened import Format

app = typer.Typer(
    name="torchbce",
    help="Binary cross-entropy that you can see through: train on a table, predict, explain a loss.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
AsJson = Annotated[bool, typer.Option("--json", help="Print every number as JSON.")]


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of torchbce and torch.", is_eager=True)
    ] = False,
) -> None:
    """Binary cross-entropy that you can see through: train on a table, predict, explain a loss."""
    if version:
        from importlib.metadata import version as installed

        print(f"torchbce {installed('torchbce')}, torch {installed('torch')}")
        raise typer.Exit


@app.command()
def train(
    file: Table,
    target: Annotated[str, typer.Option(help="The yes/no column.", show_default=False)],
    positive: Annotated[
        Optional[str],
        typer.Option(help="Which of the target's two values is 1.", show_default="1, true or yes, else the later one"),
    ] = None,
    exclude: Annotated[
        Optional[list[str]],
        typer.Option(metavar="COL", help="A column to leave out; may be repeated.", show_default=False),
    ] = None,
    categorical: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="COL", help="A column of numbers to take as categories; may be repeated.", show_default=False
        ),
    ] = None,
    hidden: Annotated[
        Optional[str],
        typer.Option(
            metavar="8,8", help="Hidden layers; 0 for none.", show_default="32, or 128,128 from 2,000 rows on"
        ),
    ] = None,
    epochs: Annotated[
        Optional[int], typer.Option(min=1, help="The largest number of epochs.", show_default="15 to 60, by the rows")
    ] = None,
    batch_size: Annotated[
        Optional[int], typer.Option(min=1, help="Rows per step.", show_default="32 to 1024, by the rows")
    ] = None,
    lr: Annotated[
        Optional[float], typer.Option(min=0.0, help="Learning rate.", show_default="0.005 for adamw, 0.1 for sgd")
    ] = None,
    optimizer: Annotated[str, typer.Option(metavar="adamw|sgd", help="adamw (one-cycle) or sgd (plain).")] = "adamw",
    patience: Annotated[
        int, typer.Option(min=1, help="Stop after this many epochs without a better validation BCE.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same run, bit for bit.")] = 42,
    out: Annotated[
        Optional[Path], typer.Option(metavar="DIR", help="The run folder to make.", show_default="runs/FILE")
    ] = None,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Train a classifier on a table and say what its BCE is and means."""
    with reported():
        from torchbce.cli.train import run

        run(
            file,
            target,
            positive=positive,
            exclude=exclude or [],
            categorical=categorical or [],
            hidden=_sizes(hidden),
            epochs=epochs,
            batch_size=batch_size,
            lr=_positive(lr),
            optimizer=_one_of("--optimizer", optimizer, ["adamw", "sgd"]),
            patience=patience,
            seed=seed,
            out=out,
            format=_format(decimal, delimiter, encoding),
        )


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that train made.", show_default=False)],
    file: Table,
    out: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="A CSV or Parquet file to make.", show_default="CSV to the screen"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that file if it is there.")] = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Apply a trained model to new rows."""
    with reported():
        from torchbce.cli.predict import run as run_predict

        run_predict(run, file, out, _format(decimal, delimiter, encoding), overwrite=overwrite)


@app.command()
def explain(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Predictions: CSV, Parquet or Arrow files, 'patterns*', - for standard input; or a run folder.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option(metavar="COL", help="The column of targets, in [0, 1].")] = "target",
    prob: Probabilities = None,
    logit: Logits = None,
    weight: Weights = None,
    by: Annotated[
        Optional[str],
        typer.Option(metavar="COL", help="A column of groups: which of them carries the loss?", show_default=False),
    ] = None,
    cluster: Cluster = None,
    only: Annotated[
        Optional[str],
        typer.Option(metavar="COL=VALUE", help="Only these rows, such as split=valid.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=0, max=1000, help="How many of the worst items to show.")] = 10,
    merge: Annotated[
        bool, typer.Option("--merge", help="The files are what --save made of parts of the data.")
    ] = False,
    save: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Keep what was read, to --merge it.", show_default=False)
    ] = None,
    html: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Make a page to look at.", show_default=False)
    ] = None,
    json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Say where a BCE comes from, item by item, and what it means. Under torchrun the processes share the rows."""
    with reported():
        from torchbce.cli.explain import Asked, run

        form = "json" if json else "markdown" if markdown else "text"
        layout = _format(decimal, delimiter, encoding)
        run(Asked(files, target, prob, logit, weight, by, cluster, only, top, merge, save, html, form, layout))


@app.command()
def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Predictions, losses per epoch, or a run folder; or -.", show_default=False
        ),
    ],
    target: Annotated[str, typer.Option(metavar="COL", help="The column of targets.")] = "target",
    prob: Probabilities = None,
    logit: Logits = None,
    weight: Weights = None,
    cluster: Cluster = None,
    train: Annotated[
        Optional[str], typer.Option(metavar="COL", help="Training losses, an epoch a row.", show_default=False)
    ] = None,
    valid: Annotated[
        Optional[str], typer.Option(metavar="COL", help="Validation losses beside them.", show_default=False)
    ] = None,
    ignore: Annotated[
        Optional[list[str]],
        typer.Option(metavar="CODE", help="A check to leave out; may be repeated.", show_default=False),
    ] = None,
    json: AsJson = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF, for code hosts.")] = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Find known mistakes in predictions or in a log of losses. Status 6 if there is one for certain."""
    with reported():
        from torchbce.cli.check import run

        form = "json" if json else "sarif" if sarif else "text"
        if not run(
            file,
            target=target,
            prob=prob,
            logit=logit,
            weight=weight,
            cluster=cluster,
            train=train,
            valid=valid,
            ignore=ignore or [],
            form=form,
            format=_format(decimal, delimiter, encoding),
        ):
            raise typer.Exit(ExitCode.CHECK_FAILED)


@app.command()
def selftest() -> None:
    """Compare the losses with exact values and with torch's, on this machine and its devices."""
    with reported():
        from torchbce.cli.selftest import run_selftest

        if not run_selftest():
            raise typer.Exit(ExitCode.BUG)


@app.command(hidden=True, deprecated=True)
def verify() -> None:
    """The former name of selftest."""
    selftest()


@app.command()
def bench() -> None:
    """Time the losses beside torch's on this machine, in less than a minute."""
    with reported():
        from torchbce.cli.selftest import run_bench

        run_bench()


def _format(decimal: str, delimiter: str | None, encoding: str | None) -> Format:
    from torchbce.training.table.opened import Format

    if delimiter is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1 or not delimiter.isascii():
            raise typer.BadParameter(f"--delimiter is {delimiter!r}; it is one character, such as ';' or tab")
    return Format(_one_of("--decimal", decimal, [".", ","]), delimiter, encoding)


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [-1]
    if sizes == [0]:
        return []
    if min(sizes) < 1 or max(sizes) > 65_536 or len(sizes) > 32:
        raise typer.BadParameter(
            f"{text!r} is not a list of layer sizes; write --hidden 8,8 for two layers of 8, --hidden 0 for none"
        )
    return sizes


def _positive(lr: float | None) -> float | None:
    if lr is not None and not 0 < lr < float("inf"):
        raise typer.BadParameter(f"{lr} is no learning rate; it must be above 0")
    return lr


def _one_of(option: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise typer.BadParameter(f"{option} is {value!r}; it is one of {', '.join(allowed)}")
    return value
