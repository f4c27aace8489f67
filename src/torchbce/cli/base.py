"""The command `torchbce`, which the commands are added to."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="torchbce",
    help="Binary cross-entropy that you can see through: train on a table, predict, explain a loss.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of torchbce and torch.", is_eager=True)
    ] = False,
) -> None:
    """Binary cross-entropy that you can see through: train on a table, predict, explain a loss."""
    if version:
        from importlib.metadata import version as installed

        print(f"torchbce {installed('torchbce')}, torch {installed('torch')}")
        raise typer.Exit
