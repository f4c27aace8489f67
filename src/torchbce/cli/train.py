"""`torchbce train`: from the options to a run folder, in memory or in blocks, alone or under torchrun."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.cli.resuming import place_of, resumable
from torchbce.cli.shared.exit_codes import ExitCode
from torchbce.cli.shared.output import NullOutput, Output, print_err
from torchbce.cli.time_budget import TimeBudget
from torchbce.cli.train_lines import LABEL, network_line, outline_lines, result_lines
from torchbce.cli.train_progress import OnFold, reading_shown, training_shown
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.visible import visible
from torchbce.io.size import fits_in_memory
from torchbce.io.source import Format
from torchbce.table import memory_table, packed_table
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.network.devices import device_named
from torchbce.table.outcome import Outcome
from torchbce.table.packed_table import PackedTable
from torchbce.table.run.identity import PROCESSOR, identity_digest, run_identity
from torchbce.table.run.reservation import RunFolderLock, check_run_folder
from torchbce.table.run.write import write_run
from torchbce.table.splits.holdout import Holdout
from torchbce.table.task import Task
from torchbce.table.train import train


@dataclass(frozen=True)
class Long:
    """What a user says of long runs and large tables. checkpoint: seconds between two, None for none."""

    checkpoint: float | None = 300.0
    resume: bool | None = None
    memory: float | None = None  # bytes
    cache: Path | None = None


@dataclass(frozen=True)
class Wanted:
    """The command, as it was given."""

    file: str
    roles: ColumnRoles
    held: Holdout
    options: UserOptions
    seed: int
    compare: bool
    out: Path | None
    format: Format
    long: Long

    @property
    def tables(self) -> list[str]:
        """All that are read."""
        return [name for name in (self.file, self.held.file) if name is not None]

    @property
    def is_exact(self) -> bool:
        """Whether the run folder has to have this name."""
        return self.out is not None

    @property
    def folder(self) -> Path:
        """The run folder to make; without --out a free name near it will do."""
        named = visible(Path(self.file).name.split(".")[0].strip("*?[]")).replace("\\", "_")
        return self.out or Path("runs") / (named or "table")


def run(wanted: Wanted) -> None:
    """Train and narrate. The model is saved even if nobody reads any more.

    Under torchrun the first process reserves, writes and speaks.
    """
    with processes.joined():
        processes.require_same(_options(wanted))
        processes.in_all(lambda: device_named(wanted.options.device))  # before it reads
        processes.from_first(lambda: check_run_folder(wanted.folder, exact=wanted.is_exact, resume=wanted.long.resume))
        output = Output() if processes.is_first() else NullOutput()
        budget = TimeBudget(wanted.options.time_budget, wanted.file)
        small = processes.from_first(lambda: fits_in_memory(wanted.tables, wanted.long.memory, wanted.format))
        task = processes.in_all(lambda: _in_memory(wanted)) if small else _in_blocks(wanted, output, budget)
        processes.require_same(task.known)
        options = wanted.options
        if options.time_budget is not None:
            options = replace(options, time_budget=processes.from_first(budget.left))
        for line in outline_lines(task.outline, wanted.roles.positive):
            output.print(line)
        output.print(network_line(task.table.config(wanted.options), wanted.seed))
        with _place(wanted, task) as (place, run):
            if place.finished:
                output.print(f"{'finished':{LABEL}}{place.folder} is this very run; there is nothing left to do")
                return
            with resumable(place, output, LABEL):
                outcome = _trained(wanted, task, options, place, output)
                notes = write_run(outcome, place, run) if processes.is_first() else []
                if not output.is_null:
                    for note in notes:
                        print_err(f"torchbce: {note}")
                    for line in result_lines(outcome, place.folder):
                        output.print(line)
    if output.error is not None:
        print_err(f"torchbce: the output cannot be written ({output.error.strerror}); the model is in {place.folder}")
        sys.exit(ExitCode.PIPE if isinstance(output.error, BrokenPipeError) else ExitCode.OUTPUT)


def _in_memory(wanted: Wanted) -> Task:
    return memory_table.prepare(wanted.file, wanted.roles, wanted.held, seed=wanted.seed, format=wanted.format)


def _in_blocks(wanted: Wanted, output: Output, budget: TimeBudget) -> Task:
    if wanted.compare:
        raise InputError(f"{wanted.file} is larger than memory, and --compare needs it there; leave --compare out")
    cache = wanted.long.cache or wanted.folder.with_name(f"{wanted.folder.name}.cache")
    with reading_shown(output) as shown:

        def on_rows(done: int, total: int | None) -> None:
            budget.left()
            shown(done, total)

        task = packed_table.prepare(
            [wanted.file],
            wanted.roles,
            wanted.held,
            seed=wanted.seed,
            format=wanted.format,
            cache=cache,
            on_rows=on_rows,
        )
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert isinstance(task.table, PackedTable)
    how = "is used again" if task.table.stream.reused else "was made"
    output.print(
        f"{'cache':{LABEL}}{cache} {how}: {size / 2**30:,.2f} GiB, for a table that does not fit in memory (--memory); "
        "boosted trees, which need it there, are left out"
    )
    return task


def _identity(wanted: Wanted, digests: dict[str, str]) -> dict[str, Any]:
    """What the run depends on; `digests` are those of what was read."""
    return run_identity(
        digests,
        wanted.roles,
        wanted.held,
        wanted.options,
        seed=wanted.seed,
        compare=wanted.compare,
        format=wanted.format,
    )


def _options(wanted: Wanted) -> dict[str, Any]:
    """The same in all processes, before anything is read; they may run on different processors."""
    return {name: value for name, value in _identity(wanted, {}).items() if name != PROCESSOR}


@contextmanager
def _place(wanted: Wanted, task: Task) -> Iterator[tuple[RunFolderLock, str]]:
    """Where the run is to be, and the digest of what it depends on."""
    whole = _identity(wanted, task.digests)
    with place_of(
        wanted.folder,
        whole,
        exact=wanted.is_exact,
        keeps=wanted.long.checkpoint is not None,
        resume=wanted.long.resume,
    ) as place:
        yield place, identity_digest(whole)


def _trained(wanted: Wanted, task: Task, options: UserOptions, place: RunFolderLock, output: Output) -> Outcome:
    """Train; `options` are the user's, with the time that is left."""
    checkpointer = Checkpointer(place.unfinished, wanted.long.checkpoint or math.inf)
    rows_per_step = task.table.config(options).batch_size if isinstance(task.table, PackedTable) else 0
    shown: tuple[OnFold, Callbacks]
    with training_shown(output, place, task.outline.folds, rows_per_step) as shown:
        on_fold, callbacks = shown[0], replace(shown[1], checkpointer=checkpointer)
        return train(task, options, seed=wanted.seed, compare=wanted.compare, on_fold=on_fold, callbacks=callbacks)
