"""`torchbce explain`: predictions in files of any size, or those of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from torchbce.cli.output import say
from torchbce.cli.predictions import file_of, only_of, outputs_of
from torchbce.cli.reading import sketch_of
from torchbce.cli.shards import merged_files, of_all_processes
from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import is_same_file
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.gather import rank_and_size
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.training.table.files import write_bytes
from torchbce.training.table.opened import Format
from torchbce.training.table.predictions import Columns


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
    top: int
    merge: bool
    save: Path | None
    html: Path | None
    form: str  # "text", "json" or "markdown"
    format: Format


def run(asked: Asked) -> None:
    """Print the explanation of the rows asked for; of a run folder, the validation rows."""
    for flag, path in (("--save", asked.save), ("--html", asked.html)):
        if path is not None and any(is_same_file(path, Path(name)) for name in asked.files):
            raise typer.BadParameter(f"{flag} {path} is one of the files that are read; name another")
    whole = of_all_processes(
        lambda: merged_files(asked.files, from_bytes) if asked.merge else _read(asked), to_bytes, from_bytes
    )
    if whole is None:
        return  # the first process speaks for all
    if asked.save is not None:
        write_bytes(asked.save, to_bytes(whole))
    try:
        found = explanation(whole, top=asked.top)
    except ValueError as error:
        raise InputError(str(error)) from error
    if asked.html is not None:
        try:
            found.to_html(asked.html, title=", ".join(asked.files))
        except OSError as error:
            raise OutputError(f"{asked.html} cannot be written: {error.strerror}") from error
    if asked.form == "json":
        say(json.dumps(found.to_dict(), indent=1))
    else:
        say(found.to_markdown() if asked.form == "markdown" else found)


def _read(asked: Asked) -> Sketch:
    columns, names = _columns(asked)
    return sketch_of(names, columns, asked.format, rank_and_size())


def _columns(asked: Asked) -> tuple[Columns, list[str]]:
    names, of_run = list(asked.files), False
    if len(names) == 1:
        file, of_run = file_of(names[0])
        names = [file]
    outputs, from_logits = outputs_of(asked.prob, asked.logit, of_run=of_run)
    only = only_of(asked.only)
    return Columns(outputs, asked.target, from_logits, asked.weight, asked.by, only, asked.cluster), names
