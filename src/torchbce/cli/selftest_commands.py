"""`selftest`, `bench` and `build`: what this machine does."""

from __future__ import annotations

import typer

from torchbce.cli.base import app
from torchbce.cli.exit_codes import ExitCode, reported


@app.command()
def selftest() -> None:
    """Compare the losses with exact values and with torch's, on this machine and its devices."""
    with reported():
        from torchbce.cli.selftest import run_selftest

        if not run_selftest():
            raise typer.Exit(ExitCode.BUG)


@app.command(hidden=True, deprecated=True)
def verify() -> None:
    """The former name of selftest."""
    selftest()


@app.command()
def bench() -> None:
    """Time the losses beside torch's on this machine, in less than a minute."""
    with reported():
        from torchbce.cli.selftest import run_bench

        run_bench()


@app.command()
def build() -> None:
    """Compile the C++ node that makes small calls fast, with this machine's compiler; once for each torch."""
    with reported():
        from torchbce.selftest.node import ITEMS, build_node

        built = build_node()
        print(f"the node is kept as {built.file}")
        print(f"loss and gradient of {ITEMS} logits: {built.ours:.0f} us; with torch's loss {built.torch:.0f} us")
