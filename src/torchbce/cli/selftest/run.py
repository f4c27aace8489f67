"""`torchbce selftest`, `bench`, `build` and `warmup`: exactness, speed and compiled kernels of this machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable

import torch
import typer
from rich.console import Console
from rich.table import Table

from torchbce.cli.selftest.options import WarmupOptions
from torchbce.common.errors import InputError
from torchbce.selftest import warmup
from torchbce.selftest.accuracy import LIMITS, errors
from torchbce.selftest.node import ITEMS, build_node
from torchbce.selftest.speed import SIZES, bench


def run_selftest() -> bool:
    """Print the worst errors as a table; whether ours are all within their limits."""
    console = Console(width=max(Console().width, 100))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("loss", "dtype", "engine"):
        table.add_column(column)
    for column in ("loss", "torch's", "gradient", "torch's"):
        table.add_column(column, justify="right")
    passed = True
    with console.status("comparing") as status:
        for row in errors(lambda text: status.update(f"comparing {text}")):
            numbers = (row.value, row.value_of_torch, row.gradient, row.gradient_of_torch)
            dtype = str(row.dtype).removeprefix("torch.")
            verdict = "" if row.passed else f"  above {LIMITS[row.dtype]}: WRONG"
            table.add_row(row.loss, dtype, row.engine, *(f"{number:.2g}" for number in numbers), verdict)
            passed &= row.passed
    console.print("Worst error over the gold table, in units of the last place; inf: not finite where it should be.")
    console.print(table)
    console.print("ours are within their limits" if passed else "ours are NOT within their limits: please report this")
    return passed


def run_bench() -> None:
    """Print, for each call and size, nanoseconds per item and how many times as fast as torch it is."""
    console = Console(width=max(Console().width, 130))
    console.print(
        f"{platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores; torch {torch.__version__}"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("call", "items", "torchbce", "torch", "memory traffic alone", "times as fast as torch"):
        table.add_column(column, justify="left" if column == "call" else "right", no_wrap=True)
    with console.status("measuring") as status:
        for case, n, medians in bench(seconds=0.2):
            status.update(f"measuring {case}, {n:,} items")
            ours, theirs = medians["torchbce"], medians["torch"]
            numbers = (f"{value:,.3g} ns" if value < 1000 else f"{value:,.0f} ns" for value in medians.values())
            table.add_row(str(case) if n == SIZES[0] else "", f"{n:,}", *numbers, f"{theirs / ours:.1f}")
    console.print(table)
    console.print("Per item, medians of one run in which all take turns.")


def run_build() -> None:
    """Compile the node, and print where it is and what it gains."""
    built = build_node()
    print(f"the node is kept as {built.file}")
    print(f"loss and gradient of {ITEMS} logits: {built.ours:.0f} us; with torch's loss {built.torch:.0f} us")


def run_warmup(options: WarmupOptions) -> None:
    """Compile the calls that are asked for, and print how many there are."""
    losses = _checked("--loss", options.losses, warmup.LOSSES) or list(warmup.LOSSES)[:2]
    dtypes = _checked("--dtype", options.dtypes, warmup.FLOAT_NAMES) or ["float32"]
    targets = _checked("--target-dtype", options.target_dtypes, warmup.TARGET_NAMES)
    tensors = _checked("--with", options.tensors, warmup.TENSORS)
    start, count = time.perf_counter(), 0
    why_not = warmup.why_not()
    if why_not is not None:
        raise InputError(f"the losses are not compiled here: {why_not}")
    with Console().status("compiling") as status:
        for kind in warmup.warm_up(losses, dtypes, targets, tensors):
            status.update(f"compiling {kind}")
            count += 1
    folder = warmup.folder()
    where = f"kept in {folder}" if folder else "kept nowhere, as there is no folder of your own: set TORCHBCE_CACHE"
    print(f"{count} kinds of calls are compiled, in {time.perf_counter() - start:.0f} s; {where}")


def _checked(option: str, values: list[str], allowed: Iterable[str]) -> list[str]:
    """Return the values, each once, if all of them are allowed."""
    for value in values:
        if value not in allowed:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(allowed)}", param_hint=option)
    return list(dict.fromkeys(values))
