"""Which columns hold predictions, as the options of several commands say."""

from __future__ import annotations

from pathlib import Path

import typer

from torchbce.table.run.folder import check_predictions_file


def file_of(name: str) -> tuple[str, bool]:
    """The file of predictions that a name stands for, and whether it is that of a run."""
    folder = Path(name)
    return (str(check_predictions_file(folder)), True) if folder.is_dir() else (name, False)


def outputs_of(prob: str | None, logit: str | None, *, of_run: bool) -> tuple[str, bool]:
    """The column of outputs, and whether they are logits."""
    if prob and logit:
        raise typer.BadParameter("--prob and --logit were both given; the outputs are either of them, not both")
    if prob:
        return prob, False
    if logit or of_run:
        return logit or "logit", True
    raise typer.BadParameter("say which numbers these are: --prob COL for probabilities, or --logit COL")


def only_of(only: str | None) -> tuple[str, str] | None:
    """The column and the value of the rows that are wanted."""
    if only is None:
        return None
    column, equals, value = only.partition("=")
    if not equals:
        raise typer.BadParameter(f"--only is {only!r}; write --only COL=VALUE")
    return column, value
