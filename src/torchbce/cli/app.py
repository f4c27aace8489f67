"""Every command of `torchbce`; the work of each is imported when it runs, so that --help is quick."""

from __future__ import annotations

import typer

from torchbce.cli.base import app, command
from torchbce.cli.check.options import CheckOptions
from torchbce.cli.compare.options import CompareOptions
from torchbce.cli.explain.options import ExplainOptions
from torchbce.cli.export.options import ExportOptions
from torchbce.cli.labels.options import LabelsOptions
from torchbce.cli.predict.options import PredictOptions
from torchbce.cli.selftest.options import WarmupOptions
from torchbce.cli.shared.exit_codes import ExitCode
from torchbce.cli.train.options import TrainOptions

__all__ = ["app"]


@command(prints=False)
def train(options: TrainOptions) -> None:
    """Train a classifier on a table, and say what its BCE is on rows that it has not seen."""
    from torchbce.cli.train.run import run

    run(options)


@command(prints=False)
def predict(options: PredictOptions) -> None:
    """Apply a trained model to new rows."""
    from torchbce.cli.predict.run import run

    run(options)


@command(prints=False)
def export(options: ExportOptions) -> None:
    """Write a trained model for other runtimes: raw columns in, probability out."""
    from torchbce.cli.export.run import run

    run(options)


@command()
def explain(options: ExplainOptions) -> None:
    """Say where a BCE comes from, item by item, and what it means. Processes of torchrun share the rows."""
    from torchbce.cli.explain.run import run

    run(options)


@command()
def compare(options: CompareOptions) -> None:
    """Say which model is better, by how much, why, and whether it was luck. Processes of torchrun share the rows."""
    from torchbce.cli.compare.run import run

    run(options)


@command()
def labels(options: LabelsOptions) -> None:
    """Say which labels are probably wrong, and how many there are."""
    from torchbce.cli.labels.run import run

    run(options)


@command()
def check(options: CheckOptions) -> None:
    """Find known mistakes in predictions or in a log of losses. The exit status is 6 if one is certain."""
    from torchbce.cli.check.run import run

    if not run(options):
        raise typer.Exit(ExitCode.CHECK_FAILED)


@command()
def selftest() -> None:
    """Compare the losses with exact values and with torch's, on this machine and its devices."""
    from torchbce.cli.selftest.run import run_selftest

    if not run_selftest():
        raise typer.Exit(ExitCode.BUG)


@command()
def bench() -> None:
    """Time the losses beside torch's on this machine, in less than a minute."""
    from torchbce.cli.selftest.run import run_bench

    run_bench()


@command()
def build() -> None:
    """Compile the C++ node that makes small calls fast, with this machine's compiler; once for each torch."""
    from torchbce.cli.selftest.run import run_build

    run_build()


@command()
def warmup(options: WarmupOptions) -> None:
    """Compile the losses on this machine beforehand, so that no training waits for it."""
    from torchbce.cli.selftest.run import run_warmup

    run_warmup(options)
