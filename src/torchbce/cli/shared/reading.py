"""Reading files of predictions into a sketch, with a progress bar on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from torchbce.common.errors import InputError
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.io.predictions import PredictionBatch, PredictionColumns, read_predictions
from torchbce.io.scan import count_rows
from torchbce.io.source import SourceFile


def sketch_of(
    files: list[SourceFile],
    columns: PredictionColumns,
    part: tuple[int, int] = (0, 1),
    also: Callable[[PredictionBatch], None] | None = None,
) -> Sketch:
    """Return the sketch of the predictions in files.

    part: (k, n) for the k-th of n parts. also: is called with every batch.
    """
    sketch = Sketch(columns.from_logits)
    with _progress(files, quiet=part[0] > 0) as advance:
        for source in files:
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
                    if also is not None:
                        also(batch)
                except ValueError as error:
                    raise InputError(f"{source.name}: {error}") from error
                advance(len(batch.outputs))
    return sketch


@contextlib.contextmanager
def _progress(files: list[SourceFile], *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show the rows that have been read, if standard error is a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda rows: None
        return
    counts = [count_rows(source) for source in files]
    total = None if None in counts else sum(count or 0 for count in counts)
    columns = TextColumn("rows", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.advance(task, rows)
