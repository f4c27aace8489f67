"""Runs that are resumed: what is printed of an unfinished one, and what Ctrl-C and SIGTERM leave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchbce.cli.shared.output import Output, print_err
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.signals import Terminated
from torchbce.table.run.identity import is_finished
from torchbce.table.run.reservation import RunFolderLock, reserve_run_folder


@contextlib.contextmanager
def shared_run_folder(
    folder: Path, identity: dict[str, Any], *, exact: bool, keeps: bool, resume: bool | None
) -> Iterator[RunFolderLock]:
    """Reserve the folder of a run in the first process; all processes get it."""
    with contextlib.ExitStack() as stack:

        def reserve() -> RunFolderLock:
            return stack.enter_context(
                reserve_run_folder(
                    folder,
                    exact=exact,
                    identity=identity if keeps else None,
                    resume=resume,
                    is_finished=lambda candidate: is_finished(candidate, identity),
                )
            )

        yield processes.from_first(reserve)


@contextlib.contextmanager
def resumable(run_folder: RunFolderLock, output: Output, label: int) -> Iterator[None]:
    """Print that a run is resumed, and name what is left of one that is stopped."""
    unfinished = run_folder.unfinished
    if unfinished is not None and not unfinished.is_empty:
        output.print(
            f"{'found':{label}}{unfinished.folder}: this run, unfinished; it goes on (--no-resume begins anew)"
        )
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stopped:
        if run_folder.finished:
            raise type(stopped)(f"the finished model is in {run_folder.folder}") from None
        if unfinished is None or unfinished.is_empty:
            raise
        raise type(stopped)(f"{unfinished.folder} has what is done; the same command goes on with it") from None
    except InputError as error:
        if unfinished is None or unfinished.is_empty:
            raise
        raise InputError(f"{error}; {unfinished.folder} keeps what was done before") from error
    finally:
        print_notes(run_folder)


def print_notes(run_folder: RunFolderLock) -> None:
    """Print each note once: checkpoints that could not be written, or are damaged."""
    if run_folder.unfinished is not None:
        while run_folder.unfinished.notes:
            print_err(f"torchbce: {run_folder.unfinished.notes.pop(0)}")
