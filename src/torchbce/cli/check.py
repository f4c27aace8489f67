"""`torchbce check`: predictions or a log of losses in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import typer

from torchbce.checks.check_log import check_log
from torchbce.checks.check_predictions import check_predictions
from torchbce.checks.report import Report, report
from torchbce.cli.output import say
from torchbce.common.errors import InputError
from torchbce.io.opened import Format
from torchbce.io.predictions import Columns, read_numbers, read_predictions
from torchbce.io.scan import sources
from torchbce.table.run.folder import HISTORY_FILE, check_predictions_file


def run(
    file: str,
    *,
    target: str,
    prob: str | None,
    logit: str | None,
    weight: str | None,
    cluster: str | None,
    train: str | None,
    valid: str | None,
    ignore: list[str],
    form: str,
    format: Format,
) -> bool:
    """Print the report; whether nothing failed. Of a run folder, that of its history and of the rows kept aside."""
    if Path(file).is_dir():
        return _check_run(Path(file), ignore, form)
    outputs = prob or logit
    if sum(name is not None for name in (prob, logit, train)) != 1:
        raise typer.BadParameter(
            "say what the file holds: --prob COL, --logit COL, or --train COL for losses per epoch"
        )
    wanted = [train] if train else [target, outputs]
    if valid is not None:
        if train is None:
            raise typer.BadParameter("--valid COL goes with --train COL")
        wanted.append(valid)
    if weight is not None:
        if train is not None:
            raise typer.BadParameter("--weight COL goes with --prob COL or --logit COL")
        wanted.append(weight)
    if cluster is not None and train is not None:
        raise typer.BadParameter("--cluster COL goes with --prob COL or --logit COL")
    with sources([file], format) as found:
        parts = [read_numbers(source, [name for name in wanted if name], cluster) for source in found]
        columns = [np.concatenate(column) for column in zip(*(numbers for numbers, _ in parts), strict=True)]
        belongs = None if cluster is None else np.concatenate([texts for _, texts in parts])
    try:
        found_report = _checked(columns, train, prob is None, belongs, ignore)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    _print(found_report, form)
    return found_report.ok


def _check_run(folder: Path, ignore: list[str], form: str) -> bool:
    """What training wrote: predictions of rows kept aside, and the losses of each epoch."""
    predictions = check_predictions_file(folder)
    columns = Columns("logit", "target", from_logits=True)
    with sources([str(predictions), str(folder / HISTORY_FILE)]) as (table, history):
        rows = list(read_predictions(table, columns))
        (running, valid), _ = read_numbers(history, ["running", "valid"])
    outputs, targets = (torch.cat([getattr(batch, name) for batch in rows]) for name in ("outputs", "targets"))
    found = check_predictions(outputs, targets, from_logits=True, ignore=ignore)
    log = check_log(running.tolist(), valid.tolist(), running=True, ignore=ignore)
    judged = [
        finding for finding in log.findings if finding.code != "BCE026"
    ]  # training keeps the best epoch's weights
    both = report((*found.findings, *judged), ignore=ignore, about=f"{folder}: {found.about}, {log.about}")
    _print(both, form)
    return both.ok


def _print(found: Report, form: str) -> None:
    say({"json": found.to_json, "sarif": found.to_sarif}[form]() if form != "text" else found)


def _checked(
    columns: list[np.ndarray], train: str | None, from_logits: bool, cluster: np.ndarray | None, ignore: list[str]
) -> Report:
    if train is not None:
        running = train != "train"  # our own history.csv has both, and its train is measured at the epoch's end
        return check_log(
            columns[0].tolist(), columns[1].tolist() if len(columns) > 1 else None, running=running, ignore=ignore
        )
    targets, outputs, *weight = columns
    return check_predictions(
        outputs,
        targets,
        from_logits=from_logits,
        weight=weight[0] if weight else None,
        cluster=cluster,
        ignore=ignore,
    )
