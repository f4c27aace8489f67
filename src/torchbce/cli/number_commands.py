"""`explain` and `check`: their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from torchbce.cli.base import app
from torchbce.cli.exit_codes import ExitCode, reported
from torchbce.cli.options import (
    AsJson,
    AsMarkdown,
    Cluster,
    Cost,
    Decimal,
    Delimiter,
    Encoding,
    Html,
    Logits,
    Merge,
    Only,
    Probabilities,
    Save,
    Targets,
    Threshold,
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
    target: Targets = "target",
    prob: Probabilities = None,
    logit: Logits = None,
    weight: Weights = None,
    by: Annotated[
        Optional[str],
        typer.Option(metavar="COL", help="A column of groups: which of them carries the loss?", show_default=False),
    ] = None,
    cluster: Cluster = None,
    only: Only = None,
    slices: Annotated[
        bool, typer.Option("--slices", help="Find the slices of the other columns that carry excess loss.")
    ] = False,
    table: Annotated[
        Optional[str],
        typer.Option(metavar="FILE", help="Of a run: its table, where it is not beside it.", show_default=False),
    ] = None,
    threshold: Threshold = None,
    cost: Cost = None,
    top: Annotated[int, typer.Option(min=0, max=1000, help="How many of the worst items to show.")] = 10,
    merge: Merge = False,
    save: Save = None,
    html: Html = None,
    json: AsJson = False,
    markdown: AsMarkdown = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Say where a BCE comes from, item by item, and what it means. Under torchrun the processes share the rows."""
    with reported():
        from torchbce.cli.explain import Asked, run

        form = "json" if json else "markdown" if markdown else "text"
        layout = format_of(decimal, delimiter, encoding)
        given = files, target, prob, logit, weight, by, cluster, only, top, merge, save, html
        run(Asked(*given, slices, table, threshold, cost, form, layout))


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Predictions of the same items: a file or run folder for each model, or one file for all.",
            show_default=False,
        ),
    ],
    target: Targets = "target",
    prob: Annotated[
        Optional[list[str]],
        typer.Option(metavar="COL", help="A column of probabilities, for each model of one file.", show_default=False),
    ] = None,
    logit: Annotated[
        Optional[list[str]],
        typer.Option(metavar="COL", help="A column of logits, for each model of one file.", show_default=False),
    ] = None,
    key: Annotated[
        Optional[str],
        typer.Option(metavar="COL", help="What names an item in every file.", show_default="by row"),
    ] = None,
    weight: Weights = None,
    by: Annotated[
        Optional[str],
        typer.Option(metavar="COL", help="A column of groups, or with --every of dates.", show_default=False),
    ] = None,
    cluster: Cluster = None,
    only: Only = None,
    periods: Annotated[
        bool, typer.Option("--periods", help="Two files of different items: what changed from the first to the second?")
    ] = False,
    every: Annotated[
        Optional[str],
        typer.Option(metavar="day|week|month|quarter|year", help="One model over time, with --by.", show_default=False),
    ] = None,
    merge: Merge = False,
    save: Save = None,
    html: Html = None,
    json: AsJson = False,
    markdown: AsMarkdown = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Say which model is better, by how much, why, and whether it was luck. torchrun shares the rows."""
    with reported():
        form = "json" if json else "markdown" if markdown else "text"
        layout = format_of(decimal, delimiter, encoding)
        if periods or every:
            from torchbce.cli import periods as over_periods

            one_prob, one_logit = over_periods.check_options(files, prob, logit, by, every, merge or save or key)
            over_periods.run(
                over_periods.Asked(
                    files, target, one_prob, one_logit, weight, by, cluster, only, every, html, form, layout
                )
            )
            return
        from torchbce.cli.compare import Asked, run

        outputs = prob or [], logit or []
        run(Asked(files, target, *outputs, key, weight, by, cluster, only, merge, save, html, form, layout))


@app.command()
def labels(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Predictions out of fold, or a run folder; or -.", show_default=False),
    ],
    target: Annotated[str, typer.Option(metavar="COL", help="The column of labels, 0 or 1.")] = "target",
    prob: Probabilities = None,
    logit: Logits = None,
    weight: Weights = None,
    only: Only = None,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="How many suspects to keep.")] = 100,
    out: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Write the suspects to a .csv or .parquet file.", show_default=False),
    ] = None,
    json: AsJson = False,
    decimal: Decimal = ".",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Say which labels are probably wrong, and how many there are."""
    with reported():
        from torchbce.cli.labels import Asked, run

        layout = format_of(decimal, delimiter, encoding)
        run(Asked(file, target, prob, logit, weight, only, top, out, "json" if json else "text", layout))


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
