"""`torchbce train`: what is printed while a model is trained."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from torchbce.cli.exit_codes import ExitCode
from torchbce.cli.output import Listener, remark
from torchbce.explanation.render.text import counted
from torchbce.explanation.statistics.entropy import percent_below
from torchbce.training.history import Epoch
from torchbce.training.reservation import reserved
from torchbce.training.table.opened import Format
from torchbce.training.table.target import NO, YES
from torchbce.training.train import Task, Trained, plan, prepare, train

LABEL = 10  # width of the first word of a line


def run(
    file: str,
    target: str,
    *,
    positive: str | None,
    exclude: list[str],
    categorical: list[str],
    seed: int,
    out: Path | None,
    format: Format,
    **choices: Any,
) -> None:
    """Train and narrate. The model is saved even if nobody reads any more."""
    task = prepare(file, target, positive=positive, exclude=exclude, categorical=categorical, seed=seed, format=format)
    listener = Listener()
    for line in _task_lines(task, positive):
        listener.say(line)
    chosen = plan(task, **choices)
    layers = "-".join(map(str, chosen.hidden)) or "none, linear only"
    listener.say(
        f"{'network':{LABEL}}hidden layers {layers}; {chosen.optimizer}, batches of {chosen.batch_size}, at most "
        f"{counted(chosen.epochs, 'epoch')}, seed {seed}"
    )
    listener.say(
        f"{'':{LABEL}}running = mean while the weights moved; train, valid = at the epoch's end; nats per item"
    )
    wanted = out or Path("runs") / (task.name.split(".")[0] or "table")
    with reserved(wanted, exact=out is not None) as place, _shown(listener) as (on_epoch, on_step):
        trained = train(task, chosen, place, seed=seed, on_epoch=on_epoch, on_step=on_step)
    for line in _result_lines(trained, task):
        listener.say(line)
    if listener.error is not None:
        remark(f"torchbce: the output cannot be written ({listener.error.strerror}); the model is in {trained.folder}")
        sys.exit(ExitCode.PIPE if isinstance(listener.error, BrokenPipeError) else ExitCode.OUTPUT)


@contextlib.contextmanager
def _shown(listener: Listener) -> Iterator[tuple[Callable[[Epoch], None], Callable[[int, int], None]]]:
    """What is shown of each epoch and step; a bar where a person looks."""
    if listener.error is not None or not Console().is_terminal:
        yield lambda epoch: listener.say(epoch), lambda done, total: None
        return
    columns = TextColumn("epoch {task.fields[epoch]:3d}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(), transient=True) as bar:
        progress = bar.add_task("", epoch=1, total=None)

        def on_epoch(epoch: Epoch) -> None:
            bar.print(str(epoch), highlight=False, soft_wrap=True)
            bar.reset(progress, epoch=epoch.number + 1)

        yield on_epoch, lambda done, total: bar.update(progress, completed=done, total=total)


def _task_lines(task: Task, positive: str | None) -> list[str]:
    kinds = [column.kind for column in task.columns]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("numeric", "categorical") if kind in kinds]
    share = percent(float(task.answers.mean()))
    train_rows, valid_rows = task.sizes
    yes, no = task.target.positive, task.target.negative
    known = positive is not None or (yes.lower() in YES and no.lower() in NO)
    turn = "" if known else f" (to turn them: --positive {shlex.quote(no)})"
    lines = [
        f"{'table':{LABEL}}{task.name}: {sum(task.sizes):,} rows, {' and '.join(counts)} "
        f"column{'s' * (len(kinds) > 1)}; {task.target.column} = {yes} in {share}, the other value is {no}{turn}"
    ]
    by_reason: dict[str, list[str]] = {}
    for name, reason in task.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    if by_reason:
        shown = (f"{_some(names)} ({reason})" for reason, names in by_reason.items())
        lines.append(f"{'left out':{LABEL}}{', '.join(shown)}")
    lines += [f"{'note':{LABEL}}{note}" for note in task.notes]
    lines.append(f"{'split':{LABEL}}{train_rows:,} rows to train, {valid_rows:,} to validate and to choose the epoch")
    lines.append(
        f"{'baseline':{LABEL}}always answering {percent(task.base_rate)} costs {task.baseline:.4f} nats per item; "
        f"logistic regression {task.logistic:.4f}: the numbers to beat"
    )
    return lines


def _result_lines(trained: Trained, task: Task) -> list[str]:
    best, explanation = trained.history.best, trained.explanation
    calibration = explanation.calibration
    bits = f"valid {best.judged:.6f} nats per item ({best.judged / math.log(2):.4f} bits)"
    below = f", {percent_below(best.judged, task.baseline)}, AUC {trained.auc:.4f}" if task.is_reliable else ""
    typical = f"typical probability given to the truth {explanation.typical_probability:.4f}"
    lines = [
        f"{'best':{LABEL}}epoch {best.number}: {bits}{below}; train {best.train:.6f}",
        f"{'explain':{LABEL}}total {explanation.total:.4f} over {counted(explanation.count, 'item')}, "
        f"mean {explanation.mean:.6f} +- {explanation.standard_error:.4f}: it is a MEAN; {typical}",
    ]
    if calibration:
        lines.append(f"{'':{LABEL}}calibration: {calibration.in_words(explanation.baseline)}")
    worst = explanation.items[0]
    lines.append(
        f"{'':{LABEL}}the item that costs most is row {worst.row}: {worst.formula} = {worst.loss:.2f} "
        f"(target {worst.target:g})"
    )
    lines += [f"{'WARNING':{LABEL}}{text}" for text in _warnings(trained, task)]
    lines.append(f"{'saved':{LABEL}}{trained.folder}/  {'  '.join(trained.files)}")
    return lines


def _warnings(trained: Trained, task: Task) -> list[str]:
    """What must not be overlooked: figures that chance makes, and models that know nothing."""
    gain, error = trained.gain, trained.gain_error
    interval = f"{gain - 1.96 * error:+.2g} to {gain + 1.96 * error:+.2g}"
    if not task.is_reliable:
        ones = int(task.answers[torch.from_numpy(task.valid)].sum())
        few = min(ones, task.sizes[1] - ones)
        return [
            f"{counted(few, 'validation row')} of the rarer class: too few to say whether this model knows anything; "
            "the epoch was chosen by chance"
        ]
    if gain < 0:
        return [
            f"the model is WORSE than always answering {percent(task.base_rate)}: it costs {-gain:.4f} nats per item "
            f"more (95 % {interval} less)"
        ]
    if gain < 1.96 * error:
        return [
            f"no better than always answering {percent(task.base_rate)}, as far as these rows can tell: it costs "
            f"{gain:.2g} nats per item less, 95 % {interval}"
        ]
    return []


def percent(share: float) -> str:
    """Three digits, so that a rare event is not 0.0 %."""
    return f"{100 * share:.3g} %"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {counted(len(names) - 8, 'more column')}"
