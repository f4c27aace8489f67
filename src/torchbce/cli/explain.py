"""`torchbce explain`: predictions in a file, or those of a run."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from torchbce.errors import InputError
from torchbce.lens.explain import explain
from torchbce.trainer.run_folder import PREDICTIONS_FILE
from torchbce.trainer.table.predictions import read_predictions


def run(
    file: Path,
    target: str,
    *,
    prob: str | None,
    logit: str | None,
    weight: str | None,
    only: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Print the explanation of the rows asked for; of a run folder, the validation rows."""
    if file.is_dir():
        if not (file / PREDICTIONS_FILE).is_file():
            raise InputError(f"{file} is a folder without {PREDICTIONS_FILE}; name a file, or a folder that train made")
        file, logit, only = file / PREDICTIONS_FILE, logit or (None if prob else "logit"), only or "split=valid"
    outputs = prob or logit
    if outputs is None or (prob and logit):
        raise typer.BadParameter("say which numbers these are: --prob COL for probabilities, or --logit COL")
    column, equals, value = (only or "").partition("=")
    if only and not equals:
        raise typer.BadParameter(f"--only is {only!r}; write --only COL=VALUE")
    read = read_predictions(
        file, outputs, target, weight, from_logits=prob is None, only=(column, value) if only else None
    )
    found = explain(read.outputs, read.targets, from_logits=prob is None, weight=read.weights, top=top, rows=read.rows)
    print(json.dumps(found.to_dict(), indent=1) if as_json else found)
