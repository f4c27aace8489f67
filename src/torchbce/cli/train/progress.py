"""The progress of `torchbce train`: lines, and a bar on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from torchbce.cli.shared.output import Output
from torchbce.cli.train.lines import LABEL
from torchbce.cli.train.resuming import print_notes
from torchbce.common.visible import MESSAGE, shown
from torchbce.monitor.history import Epoch
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.run.reservation import RunFolderLock

OnFold = Callable[[int, float], None]


@contextlib.contextmanager
def bar_of(output: Output, what: str) -> Iterator[tuple[Progress, TaskID] | None]:
    """Show a bar if standard output is a terminal."""
    if output.error is not None or output.is_null or not Console().is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.fields[what]}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(), transient=True) as bar:
        yield bar, bar.add_task("", what=what, rate="", total=None)


@contextlib.contextmanager
def reading_shown(output: Output) -> Iterator[Callable[[int, int | None], None]]:
    """Show the rows that are read before training."""
    with bar_of(output, "reading") as bar:
        yield lambda done, total: _advance(bar, done, total, 1)


@contextlib.contextmanager
def training_shown(
    output: Output, run_folder: RunFolderLock, folds: int, rows_per_step: int = 0
) -> Iterator[tuple[OnFold, Callbacks]]:
    """Show each fold, epoch and step. rows_per_step: to show rows per second; 0 to leave them out."""
    with bar_of(output, "fold 1" if folds else "epoch 1") as running:

        def print_line(line: str, following: str) -> None:
            if running is None:
                output.print(line)
            else:
                bar, task = running
                bar.print(Text(shown(line, MESSAGE)), soft_wrap=True)
                bar.reset(task)
                bar.update(task, what=following, rate="")
            print_notes(run_folder)

        def on_fold(number: int, loss: float) -> None:
            line = f"fold {number:4d}  of {folds}: {loss:.6f} nats per item on the rows kept from it"
            print_line(line, f"fold {number + 1}" if number < folds else "epoch 1")

        def on_epoch(epoch: Epoch) -> None:
            print_line(str(epoch), f"epoch {epoch.number + 1}")

        def stage(what: str) -> None:
            if running is not None:
                bar, task = running
                bar.reset(task)
                bar.update(task, what=what, rate="", total=None)

        def resumed(epoch: int) -> None:
            print_line(f"{'resumed':{LABEL}}in epoch {epoch}", f"epoch {epoch}")

        yield (
            on_fold,
            Callbacks(on_epoch, lambda done, total: _advance(running, done, total, rows_per_step), resumed, stage),
        )


def _advance(running: tuple[Progress, TaskID] | None, done: int, total: int | None, rows: int) -> None:
    if running is not None:
        bar, task = running
        speed = bar.tasks[task].speed
        rate = f"{speed * rows:,.0f} rows/s" if speed and rows else ""
        bar.update(task, completed=done, total=total, rate=rate)
