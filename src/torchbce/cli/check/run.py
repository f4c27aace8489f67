"""`torchbce check`: predictions or a log of losses in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import typer

from torchbce.checks.check_log import check_log
from torchbce.checks.check_predictions import check_predictions
from torchbce.checks.report import Report, report
from torchbce.cli.check.options import CheckOptions
from torchbce.cli.shared.options import TARGET
from torchbce.cli.shared.output import print_out
from torchbce.cli.shared.values import refuse_with
from torchbce.common.errors import InputError
from torchbce.io.predictions import Columns, read_numbers, read_predictions
from torchbce.io.scan import sources
from torchbce.table.run.folder import HISTORY_FILE, check_predictions_file


def run(options: CheckOptions) -> bool:
    """Print the report, of a run folder that of its history and of the rows kept aside; whether nothing failed."""
    result = _of_run(options) if Path(options.file).is_dir() else _of_file(options)
    print_out(result.to_json() if options.json else result.to_sarif() if options.sarif else result)
    return result.ok


def _of_file(options: CheckOptions) -> Report:
    outputs = options.prob or options.logit
    if sum(name is not None for name in (options.prob, options.logit, options.train)) != 1:
        raise typer.BadParameter(
            "say what the file holds: --prob COL, --logit COL, or --train COL for losses per epoch"
        )
    names = [options.train] if options.train else [options.target or TARGET, outputs]
    if options.valid is not None:
        if options.train is None:
            raise typer.BadParameter("--valid COL goes with --train COL")
        names.append(options.valid)
    if options.weight is not None:
        if options.train is not None:
            raise typer.BadParameter("--weight COL goes with --prob COL or --logit COL")
        names.append(options.weight)
    if options.cluster is not None and options.train is not None:
        raise typer.BadParameter("--cluster COL goes with --prob COL or --logit COL")
    with sources([options.file], options.format) as files:
        parts = [read_numbers(source, [name for name in names if name], options.cluster) for source in files]
        columns = [np.concatenate(column) for column in zip(*(numbers for numbers, _ in parts), strict=True)]
        cluster = None if options.cluster is None else np.concatenate([texts for _, texts in parts])
    try:
        return _checked(columns, options.train, options.prob is None, cluster, options.ignore)
    except ValueError as error:
        raise InputError(f"{options.file}: {error}") from error


def _of_run(options: CheckOptions) -> Report:
    """Check what training wrote: predictions of rows kept aside, and the losses of each epoch."""
    refuse_with(f"the run folder {options.file}", options.reading, "check knows what training wrote there")
    folder = Path(options.file)
    predictions = check_predictions_file(folder)
    columns = Columns("logit", "target", from_logits=True)
    with sources([str(predictions), str(folder / HISTORY_FILE)]) as (table, history):
        rows = list(read_predictions(table, columns))
        (running, valid), _ = read_numbers(history, ["running", "valid"])
    outputs, targets = (torch.cat([getattr(batch, name) for batch in rows]) for name in ("outputs", "targets"))
    of_rows = check_predictions(outputs, targets, from_logits=True, ignore=options.ignore)
    log = check_log(running.tolist(), valid.tolist(), running=True, ignore=options.ignore)
    # Training keeps the best epoch's weights, so later epochs that are worse do no harm.
    of_log = [finding for finding in log.findings if finding.code != "BCE026"]
    about = f"{folder}: {of_rows.about}, {log.about}"
    return report((*of_rows.findings, *of_log), ignore=options.ignore, about=about)


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
