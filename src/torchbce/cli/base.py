"""The command `torchbce`, which the commands are added to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from torchbce.common.visible import MESSAGE, shown

USAGE_ERROR: Any = typer.BadParameter.__base__  # typer has it under no name of its own


class Commands(TyperGroup):
    """The commands; what they say of an option may hold the name of a file, and is safe to show."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _shown():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _shown():
            return super().invoke(ctx)


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except USAGE_ERROR as error:
        error.message = shown(error.message, MESSAGE)
        raise


app = typer.Typer(
    cls=Commands,
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
