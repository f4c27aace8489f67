"""`torchbce train`: from the options to a run folder, in memory or in blocks, alone or under torchrun."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.cli.shared.exit_codes import ExitCode
from torchbce.cli.shared.output import NullOutput, Output, print_err
from torchbce.cli.train.lines import LABEL, network_line, outline_lines, result_lines
from torchbce.cli.train.options import TrainOptions
from torchbce.cli.train.progress import OnFold, reading_shown, training_shown
from torchbce.cli.train.resuming import resumable, shared_run_folder
from torchbce.cli.train.time_budget import TimeBudget
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.io.size import fits_in_memory
from torchbce.table import memory_table, packed_table
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.network.devices import device_named
from torchbce.table.outcome import Outcome
from torchbce.table.packed_table import PackedTable
from torchbce.table.run.identity import PROCESSOR, identity_digest, run_identity
from torchbce.table.run.reservation import RunFolderLock, check_run_folder
from torchbce.table.run.write import write_run
from torchbce.table.task import Task
from torchbce.table.train import train
from torchbce.table.train_args import TrainArgs


def run(options: TrainOptions) -> None:
    """Train and print what happens. The model is saved even if nobody reads that any more.

    Under torchrun the first process reserves the run folder, writes and prints.
    """
    args, checkpoint, memory = options.args, options.checkpoint_seconds, options.memory_bytes
    with processes.joined():
        processes.require_same(_known(args))
        processes.in_all(lambda: device_named(args.options.device))  # before it reads
        processes.from_first(lambda: check_run_folder(options.folder, exact=options.is_exact, resume=options.resume))
        output = Output() if processes.is_first() else NullOutput()
        budget = TimeBudget(args.options.time_budget, args.table)
        small = processes.from_first(lambda: fits_in_memory(args.tables, memory, args.format))
        task = (
            processes.in_all(lambda: memory_table.prepare(args)) if small else _in_blocks(options, args, output, budget)
        )
        processes.require_same(task.known)
        in_time = _with_time_left(args, budget)
        for line in outline_lines(task.outline, args.roles.positive):
            output.print(line)
        output.print(network_line(task.table.config(args.options), args.seed))
        with _reserved(options, args, task) as (run_folder, run_digest):
            if run_folder.finished:
                output.print(f"{'finished':{LABEL}}{run_folder.folder} is this very run; there is nothing left to do")
                return
            with resumable(run_folder, output, LABEL):
                checkpointer = Checkpointer(run_folder.unfinished, checkpoint or math.inf)
                outcome = _trained(in_time, task, run_folder, checkpointer, output)
                notes = write_run(outcome, run_folder, run_digest) if processes.is_first() else []
                if not output.is_null:
                    for note in notes:
                        print_err(f"torchbce: {note}")
                    for line in result_lines(outcome, run_folder.folder):
                        output.print(line)
    if output.error is not None:
        print_err(
            f"torchbce: the output cannot be written ({output.error.strerror}); the model is in {run_folder.folder}"
        )
        sys.exit(ExitCode.PIPE if isinstance(output.error, BrokenPipeError) else ExitCode.OUTPUT)


def _known(args: TrainArgs) -> dict[str, Any]:
    """Return what must be the same in all processes before anything is read; their processors may differ."""
    return {name: value for name, value in run_identity(args, {}).items() if name != PROCESSOR}


def _in_blocks(options: TrainOptions, args: TrainArgs, output: Output, budget: TimeBudget) -> Task:
    if args.compare:
        raise InputError(f"{args.table} is larger than memory, and --compare needs it there; leave --compare out")
    cache = options.cache_folder
    with reading_shown(output) as shown:

        def on_rows(done: int, total: int | None) -> None:
            budget.left()
            shown(done, total)

        task = packed_table.prepare(args, cache, on_rows)
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert isinstance(task.table, PackedTable)
    how = "is used again" if task.table.stream.reused else "was made"
    output.print(
        f"{'cache':{LABEL}}{cache} {how}: {size / 2**30:,.2f} GiB, for a table that does not fit in memory (--memory); "
        "boosted trees, which need it there, are left out"
    )
    return task


@contextmanager
def _reserved(options: TrainOptions, args: TrainArgs, task: Task) -> Iterator[tuple[RunFolderLock, str]]:
    """Reserve the run folder, and yield it with the digest of what the run depends on."""
    whole = run_identity(args, task.digests)
    keeps = options.checkpoint_seconds is not None
    with shared_run_folder(
        options.folder, whole, exact=options.is_exact, keeps=keeps, resume=options.resume
    ) as run_folder:
        yield run_folder, identity_digest(whole)


def _with_time_left(args: TrainArgs, budget: TimeBudget) -> TrainArgs:
    if args.options.time_budget is None:
        return args
    return replace(args, options=replace(args.options, time_budget=processes.from_first(budget.left)))


def _trained(
    args: TrainArgs, task: Task, run_folder: RunFolderLock, checkpointer: Checkpointer, output: Output
) -> Outcome:
    rows_per_step = task.table.config(args.options).batch_size if isinstance(task.table, PackedTable) else 0
    shown: tuple[OnFold, Callbacks]
    with training_shown(output, run_folder, task.outline.folds, rows_per_step) as shown:
        on_fold, callbacks = shown[0], replace(shown[1], checkpointer=checkpointer)
        return train(task, args, on_fold=on_fold, callbacks=callbacks)
