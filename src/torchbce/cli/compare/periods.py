"""`torchbce compare --periods` and `--every`: one model on the items of several periods."""

from __future__ import annotations

import numpy as np
import torch
import typer

from torchbce.cli.compare.options import CompareOptions
from torchbce.cli.shared.output import print_out
from torchbce.cli.shared.predictions import file_of, outputs_of
from torchbce.cli.shared.reading import sketch_of
from torchbce.cli.shared.values import one_of
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.common.writing import naming
from torchbce.comparison.over_time import OverTime, over_time
from torchbce.comparison.page import write_periods
from torchbce.comparison.periods import Change, what_changed
from torchbce.explanation.explain import Explanation, explanation
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.io.periods import PERIODS
from torchbce.io.predictions import NO_GROUP, PredictionBatch, PredictionColumns, read_predictions
from torchbce.io.scan import open_sources


def run(options: CompareOptions) -> None:
    """Print what changed from one file to the next, or over the periods of one."""
    _check(options)
    result: Change | OverTime
    if options.every is None:
        before, after = (_of_file(options, name) for name in options.files)
        result = what_changed(before, after, (options.files[0], options.files[1]))
    else:
        names, explanations = _by_period(options)
        try:
            result = over_time(names, explanations)
        except ValueError as error:
            raise InputError(f"{', '.join(options.files)}: {error}") from error
    if options.html is not None:
        with naming(options.html):
            write_periods(options.html, result, ", ".join(options.files))
    print_out(options.text_of(result))


def _check(options: CompareOptions) -> None:
    if len(options.probs) + len(options.logits) > 1:
        raise typer.BadParameter("over periods one model is compared: name one column of outputs")
    if rank_and_size()[1] > 1:
        raise typer.BadParameter("--periods and --every read all rows in one process: without torchrun")
    if options.every is None and len(options.files) != 2:
        raise typer.BadParameter(f"--periods takes two files, the earlier one first; {len(options.files)} were given")
    if options.every is not None:
        one_of("--every", options.every, list(PERIODS))
        if options.by is None:
            raise typer.BadParameter(f"--every {options.every} needs --by COL, a column of dates")


def _columns(options: CompareOptions, *, of_run: bool) -> PredictionColumns:
    prob, logit = next(iter(options.probs), None), next(iter(options.logits), None)
    outputs, from_logits = outputs_of(prob, logit, of_run=of_run)
    return options.columns(options.target, outputs, from_logits, by=options.by, every=options.every)


def _of_file(options: CompareOptions, name: str) -> Explanation:
    file, of_run = file_of(name)
    columns = _columns(options, of_run=of_run)
    with open_sources([file], options.format) as files:
        return _explanation(sketch_of(files, columns), file)


def _explanation(sketch: Sketch, name: str) -> Explanation:
    try:
        return explanation(sketch, bands=False)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def _by_period(options: CompareOptions) -> tuple[list[str], list[Explanation]]:
    """Return the periods that occur and an explanation of each; rows without a date are left out."""
    sketches: dict[str, Sketch] = {}
    columns = _columns(options, of_run=False)
    with open_sources(options.files, options.format) as files:
        for source in files:
            for batch in read_predictions(source, columns):
                assert batch.groups is not None
                codes, names = batch.groups
                for code in np.unique(codes):
                    if names[code] != NO_GROUP:
                        sketch = sketches.setdefault(names[code], Sketch(columns.from_logits))
                        _add(sketch, batch, (codes == code).nonzero()[0], source.name)
    periods = sorted(sketches)
    return periods, [_explanation(sketches[name], name) for name in periods]


def _add(sketch: Sketch, batch: PredictionBatch, rows: np.ndarray, source: str) -> None:
    """Add some rows of a batch."""
    here = torch.from_numpy(rows)
    sketch.add(
        batch.outputs[here],
        batch.targets[here],
        None if batch.weights is None else batch.weights[here],
        rows=batch.rows[rows],
        source=source,
        clusters=None if batch.clusters is None else (batch.clusters[0][rows], batch.clusters[1]),
    )
