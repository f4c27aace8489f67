"""`torchbce explain`: predictions in files of any size, or those of a run."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from torchbce.cli.files_out import check_made, writing
from torchbce.cli.options import decision_of
from torchbce.cli.output import say
from torchbce.cli.predictions import file_of, only_of, outputs_of
from torchbce.cli.reading import sketch_of
from torchbce.cli.shards import merged_files, of_all_processes
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.explanation.explain import Explanation, explanation
from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.slices.collect import SliceCollector
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.statistics.decision import Decided
from torchbce.io.files import write_bytes
from torchbce.io.predictions import PredictionBatch, PredictionColumns
from torchbce.io.scan import column_names, open_sources
from torchbce.io.source import STDIN, Format, SourceFile
from torchbce.table.run.joined import join_predictions


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
    slices: bool
    table: str | None
    threshold: float | None
    cost: str | None
    form: str  # "text", "json" or "markdown"
    format: Format


def run(asked: Asked) -> None:
    """Print the explanation of the rows asked for; of a run folder, the validation rows."""
    check_made({"--save": asked.save, "--html": asked.html}, asked.files)
    if asked.slices and (asked.merge or asked.save or rank_and_size()[1] > 1):
        raise typer.BadParameter("--slices reads all rows in one process: without --merge, --save and torchrun")
    if asked.slices and STDIN in asked.files:
        raise typer.BadParameter("--slices reads the names of the columns first; give a file, not standard input")
    decision = decision_of(asked.threshold, asked.cost)
    reading = _Reading()
    whole = of_all_processes(
        lambda: merged_files(asked.files, from_bytes) if asked.merge else reading.sketch(asked), to_bytes, from_bytes
    )
    if whole is None:
        return  # the first process speaks for all
    if asked.save is not None:
        write_bytes(asked.save, to_bytes(whole))
    try:
        found = replace(explanation(whole, top=asked.top), slices=reading.slices)
        decided = None if decision is None else found.decide(decision.threshold)
        if decision is not None and decision.costs is not None:
            decided = found.decide(cost=decision.costs)
        text = _text(asked, found, decided)
    except ValueError as error:
        raise InputError(str(error)) from error
    except ArithmeticError as error:
        if not asked.merge:
            raise
        raise InputError(
            f"the sums of {', '.join(asked.files)} contradict each other: {error}; make them anew"
        ) from error
    if asked.html is not None:
        with writing(asked.html):
            found.to_html(asked.html, title=", ".join(asked.files))
    say(text)


def _text(asked: Asked, found: Explanation, decided: Decided | None) -> str:
    """What is printed."""
    if asked.form == "json":
        numbers = found.to_dict() | ({} if decided is None else {"decided": decided.to_dict()})
        return json.dumps(numbers, indent=1)
    text = found.to_markdown() if asked.form == "markdown" else str(found)
    return text if decided is None else f"{text}\n\n{decided}"


class _Reading:
    """Reads what was asked for; `slices` are there after `sketch`, where they are wanted."""

    def __init__(self) -> None:
        self.slices: Slices | None = None

    def sketch(self, asked: Asked) -> Sketch:
        """The sketch of the rows."""
        with contextlib.ExitStack() as stack:
            names, columns = _columns(asked, stack)
            stack.enter_context(_named(names[0], asked.files[0]))
            collector = SliceCollector(columns.from_logits)

            def collect(batch: PredictionBatch) -> None:
                collector.add(batch.outputs, batch.targets, batch.weights, batch.features, batch.clusters)

            sketch = sketch_of(names, columns, asked.format, rank_and_size(), collect if asked.slices else None)
        self.slices = collector.found()
        return sketch


def _columns(asked: Asked, stack: contextlib.ExitStack) -> tuple[list[str], PredictionColumns]:
    """The files and their columns; of a run, joined with its table where that is needed."""
    names, of_run, features = list(asked.files), False, None
    if len(names) == 1:
        file, of_run = file_of(names[0])
        if of_run:
            wanted = {asked.by, asked.cluster, asked.weight} - {None}
            if asked.slices or wanted - set(column_names(SourceFile(Path(file), file))):
                file, features = _joined(Path(names[0]), asked, stack)
        names = [file]
    outputs, from_logits = outputs_of(asked.prob, asked.logit, of_run=of_run)
    columns = PredictionColumns(
        outputs, asked.target, from_logits, asked.weight, asked.by, only_of(asked.only), asked.cluster
    )
    if asked.slices:
        if features is None:
            with open_sources(names[:1], asked.format) as found:
                features = column_names(found[0])
        columns = replace(columns, features=tuple(name for name in features if name not in columns.names))
        if not columns.features:
            raise InputError(f"{names[0]} has no columns but those of the predictions; --slices needs some")
    return names, columns


def _joined(folder: Path, asked: Asked, stack: contextlib.ExitStack) -> tuple[str, list[str]]:
    """A file with the run's predictions and its table side by side, for as long as it is read."""
    frame, features = join_predictions(folder, asked.table, asked.format)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torchbce-"))) / f"{folder.name}.parquet"
    frame.write_parquet(path)
    return str(path), features


@contextlib.contextmanager
def _named(path: str, name: str) -> Iterator[None]:
    """Errors call the file of a run by the run's name."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(path, name)) from error
