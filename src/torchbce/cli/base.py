"""The command `torchbce`, which the commands are added to."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="torchbce",
    help="Binary cross-entropy that you can see through: train on a table, predict, explain a loss.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of torchbce, torch, numba and Python.", is_eager=True)
    ] = False,
) -> None:
    """Binary cross-entropy that you can see through: train on a table, predict, explain a loss."""
    if version:
        import platform
        from importlib.metadata import version as installed

        libraries = [f"{name} {installed(name)}" for name in ("torchbce", "torch", "numba")]
        print(", ".join([*libraries, f"Python {platform.python_version()}"]))
        raise typer.Exit
