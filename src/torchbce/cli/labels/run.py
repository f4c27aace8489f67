"""`torchbce labels`: labels that are probably wrong, of predictions in a file of any size, or of a run."""

from __future__ import annotations

import json

import numpy as np
import typer

from torchbce.cli.labels.options import LabelsOptions
from torchbce.cli.shared.files_out import check_outputs
from torchbce.cli.shared.output import print_err, print_out
from torchbce.cli.shared.predictions import file_of, outputs_of
from torchbce.cli.shared.values import only_of
from torchbce.common.errors import InputError
from torchbce.io.files import write_table
from torchbce.io.predictions import PredictionBatch, PredictionColumns, read_numbers, read_predictions
from torchbce.io.scan import open_sources
from torchbce.io.source import SourceFile
from torchbce.labels.find_label_errors import label_errors
from torchbce.labels.suspects import Contradicted

# Of a run's predictions: the row's number in the table, what kind of rows, and the kind where every row is judged.
ROW, SPLIT, WHOLE = "row", "split", "out of fold"


def run(options: LabelsOptions) -> None:
    """Print the suspects and how many there are, and write the suspects to a file."""
    check_outputs({"--out": options.out}, [options.file])
    name, of_run = file_of(options.file)
    columns = _columns(options, of_run=of_run)
    contradicted = Contradicted(columns.from_logits, options.top)
    splits: set[str] = set()
    with open_sources([name], options.format) as files:
        if len(files) > 1:
            raise typer.BadParameter(f"{name} stands for {len(files)} files; a row is named by its number in one file")
        source = files[0]
        numbers = read_numbers(source, [ROW])[0][0].astype(np.int64) if of_run else None
        for batch in read_predictions(source, columns):
            _check_labels(batch, columns.target, source)
            if batch.groups is not None:
                splits.update(batch.groups[1])
            rows = batch.rows if numbers is None else numbers[batch.rows - 1]
            contradicted.add(batch.outputs, batch.targets, batch.weights, rows)
    try:
        errors = label_errors(contradicted)
    except ValueError as error:
        raise InputError(f"{options.file}: {error}") from error
    if options.out is not None:
        write_table(errors.frame(), options.out)
    print_out(json.dumps(errors.to_dict(), indent=1) if options.json else errors)
    if of_run and splits != {WHOLE}:
        print_err(
            f"only the {contradicted.count:,} rows that training kept aside are judged; `torchbce train --folds 5` "
            "makes predictions out of fold for every row"
        )


def _check_labels(batch: PredictionBatch, column: str, source: SourceFile) -> None:
    soft = ((batch.targets != 0) & (batch.targets != 1)).nonzero()
    if len(soft):
        first = int(soft[0])
        raise InputError(
            f"{source.name}: row {batch.rows[first]} of column {column!r} is {batch.targets[first].item():g}; "
            "a label is 0 or 1"
        )


def _columns(options: LabelsOptions, *, of_run: bool) -> PredictionColumns:
    outputs, from_logits = outputs_of(options.prob, options.logit, of_run=of_run)
    by = SPLIT if of_run else None
    return PredictionColumns(outputs, options.target, from_logits, options.weight, by=by, only=only_of(options.only))
