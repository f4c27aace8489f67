"""`torchbce labels`: labels that are probably wrong, of predictions in a file of any size, or of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from torchbce.cli.files_out import check_made
from torchbce.cli.output import remark, say
from torchbce.cli.predictions import file_of, only_of, outputs_of
from torchbce.common.errors import InputError
from torchbce.io.files import write_table
from torchbce.io.predictions import PredictionBatch, PredictionColumns, read_numbers, read_predictions
from torchbce.io.scan import open_sources
from torchbce.io.source import Format, SourceFile
from torchbce.labels.find_label_errors import label_errors
from torchbce.labels.suspects import Contradicted

# Of a run's predictions: the row's number in the table, what kind of rows, and the kind where every row is judged.
ROW, SPLIT, WHOLE = "row", "split", "out of fold"


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    file: str
    target: str
    prob: str | None
    logit: str | None
    weight: str | None
    only: str | None
    top: int
    out: Path | None
    form: str  # "text" or "json"
    format: Format


def run(asked: Asked) -> None:
    """Print the suspects and how many there are, and keep the suspects in a file."""
    check_made({"--out": asked.out}, [asked.file])
    name, of_run = file_of(asked.file)
    columns = _columns(asked, of_run=of_run)
    seen = Contradicted(columns.from_logits, asked.top)
    splits: set[str] = set()
    with open_sources([name], asked.format) as found:
        if len(found) > 1:
            raise typer.BadParameter(f"{name} stands for {len(found)} files; a row is named by its number in one file")
        source = found[0]
        numbers = read_numbers(source, [ROW])[0][0].astype(np.int64) if of_run else None
        for batch in read_predictions(source, columns):
            _check_labels(batch, columns.target, source)
            if batch.groups is not None:
                splits.update(batch.groups[1])
            rows = batch.rows if numbers is None else numbers[batch.rows - 1]
            seen.add(batch.outputs, batch.targets, batch.weights, rows)
    try:
        errors = label_errors(seen)
    except ValueError as error:
        raise InputError(f"{asked.file}: {error}") from error
    if asked.out is not None:
        write_table(errors.frame(), asked.out)
    say(json.dumps(errors.to_dict(), indent=1) if asked.form == "json" else errors)
    if of_run and splits != {WHOLE}:
        remark(
            f"only the {seen.count:,} rows that training kept aside are judged; `torchbce train --folds 5` makes "
            "predictions out of fold for every row"
        )


def _check_labels(batch: PredictionBatch, column: str, source: SourceFile) -> None:
    soft = ((batch.targets != 0) & (batch.targets != 1)).nonzero()
    if len(soft):
        first = int(soft[0])
        raise InputError(
            f"{source.name}: row {batch.rows[first]} of column {column!r} is {batch.targets[first].item():g}; "
            "a label is 0 or 1"
        )


def _columns(asked: Asked, *, of_run: bool) -> PredictionColumns:
    outputs, from_logits = outputs_of(asked.prob, asked.logit, of_run=of_run)
    by = SPLIT if of_run else None
    return PredictionColumns(outputs, asked.target, from_logits, asked.weight, by=by, only=only_of(asked.only))
