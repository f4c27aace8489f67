"""`torchbce explain`: predictions in files of any size, or those of a run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from torchbce.cli.output import say
from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import is_same_file
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.gather import merged, rank_and_size
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.training.run.folder import check_predictions_file
from torchbce.training.table.files import write_bytes
from torchbce.training.table.opened import Format, Source
from torchbce.training.table.predictions import Columns, read_predictions
from torchbce.training.table.scan import count_rows, sources


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
    sketch: Sketch | None = None
    failure = None
    try:
        sketch = _merged_files(asked.files) if asked.merge else _read(asked)
    except InputError as error:
        if rank_and_size()[1] == 1:
            raise
        failure = str(error)
    whole = merged(sketch, failure)
    if isinstance(whole, str):
        raise InputError(whole)
    if rank_and_size()[0]:
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
    sketch = Sketch(columns.from_logits)
    part = rank_and_size()
    with sources(names, asked.format) as found, _progress(found, quiet=part[0] > 0) as advance:
        for source in found:
            for batch in read_predictions(source, columns, part):
                try:
                    sketch.add(
                        batch.outputs,
                        batch.targets,
                        batch.weights,
                        rows=batch.rows,
                        source=source.name,
                        groups=batch.groups,
                        clusters=batch.clusters,
                    )
                except ValueError as error:
                    raise InputError(f"{source.name}: {error}") from error
                advance(len(batch.outputs))
    return sketch


def _columns(asked: Asked) -> tuple[Columns, list[str]]:
    names, logit, only = list(asked.files), asked.logit, asked.only
    if len(names) == 1 and Path(names[0]).is_dir():
        folder = Path(names[0])
        names, logit, only = (
            [str(check_predictions_file(folder))],
            logit or (None if asked.prob else "logit"),
            only,
        )
    outputs = asked.prob or logit
    if asked.prob and logit:
        raise typer.BadParameter("--prob and --logit were both given; the outputs are either of them, not both")
    if outputs is None:
        raise typer.BadParameter("say which numbers these are: --prob COL for probabilities, or --logit COL")
    column, equals, value = (only or "").partition("=")
    if only and not equals:
        raise typer.BadParameter(f"--only is {only!r}; write --only COL=VALUE")
    chosen = Columns(
        outputs,
        asked.target,
        asked.prob is None,
        asked.weight,
        asked.by,
        (column, value) if only else None,
        asked.cluster,
    )
    return chosen, names


def _merged_files(names: list[str]) -> Sketch:
    """The sketches that other runs saved, added up."""
    whole: Sketch | None = None
    with sources(names) as found:
        for source in found:
            try:
                part = from_bytes(source.path.read_bytes())
                if whole is None:
                    whole = part
                else:
                    whole.merge(part)
            except (OSError, ValueError) as error:
                raise InputError(f"{source.name}: {error}") from error
    if whole is None:
        raise InputError("there is nothing to merge")
    return whole


@contextlib.contextmanager
def _progress(found: list[Source], *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while rows are read, where a person looks."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda rows: None
        return
    counts = [count_rows(source) for source in found]
    total = None if None in counts else sum(count or 0 for count in counts)
    columns = TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.advance(task, rows)
