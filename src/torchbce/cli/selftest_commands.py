"""`selftest`, `bench`, `build` and `warmup`: what this machine does."""

from __future__ import annotations

from typing import Annotated, Optional

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


@app.command()
def warmup(
    loss: Annotated[
        Optional[list[str]],
        typer.Option(help="Name of a loss; may be repeated. Default: binary_cross_entropy and ..._with_logits."),
    ] = None,
    dtype: Annotated[
        Optional[list[str]], typer.Option(help="Dtype of the input; may be repeated. Default: float32.")
    ] = None,
    target_dtype: Annotated[
        Optional[list[str]], typer.Option(help="Dtype of the target; may be repeated. Default: the input's.")
    ] = None,
    tensor: Annotated[
        Optional[list[str]],
        typer.Option("--with", help="weight, pos_weight or mask, as a tensor; repeated ones are given together."),
    ] = None,
) -> None:
    """Compile the losses on this machine beforehand, so that no training waits for it."""
    with reported():
        from torchbce.cli.selftest import run_warmup

        run_warmup(loss, dtype, target_dtype, tensor)
