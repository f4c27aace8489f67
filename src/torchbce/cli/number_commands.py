"""`explain` and `check`: their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from torchbce.cli.base import app
from torchbce.cli.exit_codes import ExitCode, reported
from torchbce.cli.options import (
    AsJson,
    Cluster,
    Decimal,
    Delimiter,
    Encoding,
    Logits,
    Probabilities,
    Weights,
    format_of,
)


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
        layout = format_of(decimal, delimiter, encoding)
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
            format=format_of(decimal, delimiter, encoding),
        ):
            raise typer.Exit(ExitCode.CHECK_FAILED)
