"""`torchbce compare --periods` and `--every`: one model on the items of several periods."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from torchbce.cli.files_out import check_made, writing
from torchbce.cli.options import one_of
from torchbce.cli.output import say
from torchbce.cli.predictions import file_of, only_of, outputs_of
from torchbce.cli.reading import sketch_of
from torchbce.common.errors import InputError
from torchbce.comparison.over_time import over_time
from torchbce.comparison.page import write_periods
from torchbce.comparison.periods import what_changed
from torchbce.explanation.explain import Explanation, explanation
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.io.periods import PERIODS
from torchbce.io.predictions import NO_GROUP, PredictionColumns, read_predictions
from torchbce.io.scan import open_sources
from torchbce.io.source import Format


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    files: list[str]
    target: str
    prob: str | None
    logit: str | None
    weight: str | None
    by: str | None
    cluster: str | None
    only: str | None
    every: str | None
    html: Path | None
    form: str
    format: Format


def check_options(
    files: list[str],
    probs: list[str] | None,
    logits: list[str] | None,
    by: str | None,
    every: str | None,
    unused: object,
) -> tuple[str | None, str | None]:
    """The one column of outputs, once the options fit each other."""
    if unused:
        raise typer.BadParameter("--periods and --every take no --key, --merge, --save or --markdown")
    if len(probs or []) + len(logits or []) > 1:
        raise typer.BadParameter("over periods one model is compared: name one column of outputs")
    if every is None and len(files) != 2:
        raise typer.BadParameter(f"--periods takes two files, the earlier one first; {len(files)} were given")
    if every is not None:
        one_of("--every", every, list(PERIODS))
        if by is None:
            raise typer.BadParameter(f"--every {every} needs --by COL, a column of dates")
    return next(iter(probs or []), None), next(iter(logits or []), None)


def run(asked: Asked) -> None:
    """Print what changed from one file to the next, or over the periods of one."""
    check_made({"--html": asked.html}, asked.files)
    found: Any
    if asked.every is None:
        before, after = (_explained(asked, [name]) for name in asked.files)
        found = what_changed(before, after, (asked.files[0], asked.files[1]))
    else:
        names, explanations = _by_period(asked)
        try:
            found = over_time(names, explanations)
        except ValueError as error:
            raise InputError(f"{', '.join(asked.files)}: {error}") from error
    if asked.html is not None:
        with writing(asked.html):
            write_periods(asked.html, found, ", ".join(asked.files))
    say(json.dumps(found.to_dict(), indent=1) if asked.form == "json" else found)


def _columns(asked: Asked, of_run: bool) -> PredictionColumns:
    outputs, from_logits = outputs_of(asked.prob, asked.logit, of_run=of_run)
    only = only_of(asked.only)
    return PredictionColumns(
        outputs, asked.target, from_logits, asked.weight, asked.by, only, asked.cluster, every=asked.every
    )


def _explained(asked: Asked, names: list[str]) -> Explanation:
    file, of_run = file_of(names[0])
    return _of(sketch_of([file], _columns(asked, of_run), asked.format), file)


def _of(sketch: Sketch, name: str) -> Explanation:
    try:
        return explanation(sketch, bands=False)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def _by_period(asked: Asked) -> tuple[list[str], list[Explanation]]:
    """A sketch of each period that occurs; rows without a date are left out."""
    found: dict[str, Sketch] = {}
    columns = _columns(asked, False)
    with open_sources(asked.files, asked.format) as opened:
        for source in opened:
            for batch in read_predictions(source, columns):
                assert batch.groups is not None
                codes, names = batch.groups
                for code in np.unique(codes):
                    if names[code] == NO_GROUP:
                        continue
                    mine = torch.from_numpy((codes == code).nonzero()[0])
                    found.setdefault(names[code], Sketch(columns.from_logits)).add(
                        batch.outputs[mine],
                        batch.targets[mine],
                        None if batch.weights is None else batch.weights[mine],
                        rows=batch.rows[mine.numpy()],
                        source=source.name,
                        clusters=None
                        if batch.clusters is None
                        else (batch.clusters[0][mine.numpy()], batch.clusters[1]),
                    )
    names = sorted(found)
    return names, [_of(found[name], name) for name in names]
