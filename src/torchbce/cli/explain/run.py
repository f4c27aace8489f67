"""`torchbce explain`: predictions in files of any size, or those of a run."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import typer

from torchbce.cli.explain.options import ExplainOptions
from torchbce.cli.shared.files_out import check_outputs
from torchbce.cli.shared.output import print_out
from torchbce.cli.shared.predictions import file_of, outputs_of
from torchbce.cli.shared.reading import sketch_of
from torchbce.cli.shared.shards import merged_files, of_all_processes
from torchbce.cli.shared.values import decision_of
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.common.writing import naming
from torchbce.explanation.explain import Explanation, explanation
from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.slices.collect import SliceCollector
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.statistics.decision import Decided
from torchbce.io.files import write_bytes
from torchbce.io.predictions import PredictionBatch, PredictionColumns
from torchbce.io.scan import column_names, open_sources
from torchbce.io.source import STDIN, SourceFile
from torchbce.table.run.joined import join_predictions


def run(options: ExplainOptions) -> None:
    """Explain the rows of files, or the validation rows of a run folder, and print that."""
    check_outputs({"--save": options.save, "--html": options.html}, options.files)
    if options.slices and (options.merge or options.save or rank_and_size()[1] > 1):
        raise typer.BadParameter("--slices reads all rows in one process: without --merge, --save and torchrun")
    if options.slices and STDIN in options.files:
        raise typer.BadParameter("--slices reads the names of the columns first; give a file, not standard input")
    decision = decision_of(options.threshold, options.cost)
    reader = _Reader(options)
    read = (lambda: merged_files(options.files, from_bytes)) if options.merge else reader.sketch
    whole = of_all_processes(read, to_bytes, from_bytes)
    if whole is None:
        return  # the first process prints for all
    if options.save is not None:
        write_bytes(options.save, to_bytes(whole))
    try:
        result = replace(explanation(whole, top=options.top), slices=reader.slices)
        decided = None if decision is None else result.decide(decision.threshold)
        if decision is not None and decision.costs is not None:
            decided = result.decide(cost=decision.costs)
        text = _text(options, result, decided)
    except ValueError as error:
        raise InputError(str(error)) from error
    except ArithmeticError as error:
        if not options.merge:
            raise
        raise InputError(
            f"the sums of {', '.join(options.files)} contradict each other: {error}; make them anew"
        ) from error
    if options.html is not None:
        with naming(options.html):
            result.to_html(options.html, title=", ".join(options.files))
    print_out(text)


def _text(options: ExplainOptions, result: Explanation, decided: Decided | None) -> str:
    if options.json and decided is not None:
        return json.dumps(result.to_dict() | {"decided": decided.to_dict()}, indent=1)
    text = options.text_of(result)
    return text if decided is None else f"{text}\n\n{decided}"


class _Reader:
    """Reads the rows into a sketch, and with --slices into `slices`."""

    def __init__(self, options: ExplainOptions) -> None:
        self._options = options
        self.slices: Slices | None = None

    def sketch(self) -> Sketch:
        """Return the sketch of this process's rows."""
        options = self._options
        with contextlib.ExitStack() as stack:
            files, columns = _opened(options, stack)
            collector = SliceCollector(columns.from_logits)

            def collect(batch: PredictionBatch) -> None:
                collector.add(batch.outputs, batch.targets, batch.weights, batch.features, batch.clusters)

            sketch = sketch_of(files, columns, rank_and_size(), collect if options.slices else None)
        self.slices = collector.found()
        return sketch


def _opened(options: ExplainOptions, stack: contextlib.ExitStack) -> tuple[list[SourceFile], PredictionColumns]:
    """Return the open files and their columns; a run goes by its name, and is joined with its table where needed."""
    names, of_run, features = list(options.files), False, None
    if len(names) == 1:
        file, of_run = file_of(names[0])
        if of_run:
            needed = {options.by, options.cluster, options.weight} - {None}
            if options.slices or needed - set(column_names(SourceFile(Path(file), file))):
                file, features = _joined(Path(names[0]), options, stack)
        names = [file]
    if options.table is not None and not of_run:
        raise typer.BadParameter(f"--table {options.table} belongs to a run folder; {options.files[0]} is none")
    outputs, from_logits = outputs_of(options.prob, options.logit, of_run=of_run)
    columns = options.columns(options.target, outputs, from_logits, by=options.by)
    files = stack.enter_context(open_sources(names, options.format))
    if of_run:
        files = [replace(files[0], name=options.files[0])]
    if options.slices:
        features = column_names(files[0]) if features is None else features
        columns = replace(columns, features=tuple(name for name in features if name not in columns.names))
        if not columns.features:
            raise InputError(f"{files[0].name} has no columns but those of the predictions; --slices needs some")
    return files, columns


def _joined(folder: Path, options: ExplainOptions, stack: contextlib.ExitStack) -> tuple[str, list[str]]:
    """Write the run's predictions beside its table to a file, which is removed when the stack is closed."""
    frame, features = join_predictions(folder, options.table, options.format)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torchbce-"))) / f"{folder.name}.parquet"
    frame.write_parquet(path)
    return str(path), features
