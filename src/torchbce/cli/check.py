"""`torchbce check`: predictions or a log of losses in a file."""

from __future__ import annotations

import numpy as np
import typer

from torchbce.errors import InputError
from torchbce.lens.check.findings import Report
from torchbce.lens.check.log import check_log
from torchbce.lens.check.predictions import check_predictions
from torchbce.trainer.table.predictions import read_numbers
from torchbce.trainer.table.scan import sources


def run(
    file: str,
    *,
    target: str,
    prob: str | None,
    logit: str | None,
    weight: str | None,
    train: str | None,
    valid: str | None,
    ignore: list[str],
    form: str,
) -> bool:
    """Print the report; whether nothing failed."""
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
    with sources([file]) as found:
        parts = [read_numbers(source, [name for name in wanted if name]) for source in found]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    try:
        report = _checked(columns, train is not None, prob is None, ignore)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    print({"json": report.to_json, "sarif": report.to_sarif}[form]() if form != "text" else report)
    return report.ok


def _checked(columns: list[np.ndarray], is_log: bool, from_logits: bool, ignore: list[str]) -> Report:
    if is_log:
        return check_log(columns[0].tolist(), columns[1].tolist() if len(columns) > 1 else None, ignore=ignore)
    targets, outputs, *weight = columns
    return check_predictions(
        outputs, targets, from_logits=from_logits, weight=weight[0] if weight else None, ignore=ignore
    )
