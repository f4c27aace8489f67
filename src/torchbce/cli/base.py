"""The command `torchbce`, and how a command is added to it: the fields of a record are its options."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from torchbce.cli.shared.decisions import decisions_printed
from torchbce.cli.shared.exit_codes import reported
from torchbce.common.visible import MESSAGE, shown

USAGE_ERROR: Any = typer.BadParameter.__base__  # typer has it under no name of its own
ABOUT = "Binary cross-entropy that you can see through: train on a table, predict, explain a loss."


class Commands(TyperGroup):
    """The commands, whose usage errors are safe to show: they may hold the name of a file."""

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


app = typer.Typer(cls=Commands, name="torchbce", help=ABOUT, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of torchbce, torch, numba and Python.", is_eager=True)
    ] = False,
) -> None:
    if version:
        import platform
        from importlib.metadata import version as installed

        libraries = [f"{name} {installed(name)}" for name in ("torchbce", "torch", "numba")]
        print(", ".join([*libraries, f"Python {platform.python_version()}"]))
        raise typer.Exit


def command(*, prints: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a command: the fields of the record that the function takes are its options, the docstring is its help.

    prints: as in `reported`.
    """

    def add(run: Callable[..., None]) -> Callable[..., None]:
        records = [hint for name, hint in get_type_hints(run).items() if name != "return"]

        def call(**given: Any) -> None:
            with reported(prints=prints), decisions_printed():
                run(*(record(**given) for record in records))

        call.__signature__ = inspect.Signature([parameter for record in records for parameter in _parameters(record)])  # type: ignore[attr-defined]
        app.command(run.__name__, help=inspect.getdoc(run))(call)
        return run

    return add


def _parameters(record: type) -> list[inspect.Parameter]:
    """Return a parameter for each field: those of the class itself first, then those of its bases."""
    hints = get_type_hints(record, include_extras=True)
    order = [name for owner in record.__mro__ for name in inspect.get_annotations(owner)]
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in sorted(dataclasses.fields(record), key=lambda field: order.index(field.name))
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
