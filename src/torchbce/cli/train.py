"""`torchbce train`: what is printed while a model is trained."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from torchbce.cli.exit_codes import ExitCode
from torchbce.cli.output import Listener, Silent, remark
from torchbce.cli.resuming import place_of, resumable, tell_notes
from torchbce.explanation.explain import Explanation
from torchbce.explanation.render.text import counted, percent
from torchbce.training import processes
from torchbce.training.checkpoint.keeper import Keeper
from torchbce.training.ensemble.course import Watch
from torchbce.training.ensemble.recipe import Choices, Recipe, recipe
from torchbce.training.estimate import Difference, Estimate
from torchbce.training.examples import Held, Roles
from torchbce.training.history import Epoch
from torchbce.training.importance import Importance
from torchbce.training.run.identity import digest, identity
from torchbce.training.run.report import chosen_explanation, what_rows
from torchbce.training.run.reservation import Reservation
from torchbce.training.table.opened import Format
from torchbce.training.table.target import NO, YES
from torchbce.training.train import Task, Trained, prepare, train

LABEL = 10  # width of the first word of a line


def run(
    file: str,
    roles: Roles,
    held: Held,
    choices: Choices,
    *,
    seed: int,
    compare: bool,
    out: Path | None,
    format: Format,
    checkpoint: float | None,
    resume: bool | None,
) -> None:
    """Train and narrate. The model is saved even if nobody reads any more.

    `checkpoint`: seconds between two, None for none. Under torchrun the first process reserves, writes and speaks.
    """
    with processes.joined():
        task = prepare(file, roles, held, seed=seed, format=format)
        listener = Listener() if processes.is_first() else Silent()
        for line in _task_lines(task, roles.positive):
            listener.say(line)
        listener.say(_network_line(recipe(len(task.train), choices), seed))
        wanted = out or Path("runs") / (task.name.split(".")[0] or "table")
        whole = identity(task.digests, roles, held, choices, seed=seed, compare=compare, format=format)
        with place_of(wanted, whole, exact=out is not None, keeps=checkpoint is not None, resume=resume) as place:
            if place.finished:
                listener.say(f"{'finished':{LABEL}}{place.folder} is this very run; there is nothing left to do")
                return
            with resumable(place, listener, LABEL), _shown(listener, task, place) as (on_fold, watch):
                trained = train(
                    task,
                    choices,
                    place if processes.is_first() else None,
                    seed=seed,
                    compare=compare,
                    on_fold=on_fold,
                    watch=replace(watch, keeper=Keeper(place.unfinished, checkpoint or math.inf)),
                    run=digest(whole),
                )
    if not processes.is_first():
        return
    for line in _result_lines(trained, task):
        listener.say(line)
    if listener.error is not None:
        remark(f"torchbce: the output cannot be written ({listener.error.strerror}); the model is in {trained.folder}")
        sys.exit(ExitCode.PIPE if isinstance(listener.error, BrokenPipeError) else ExitCode.OUTPUT)


@contextlib.contextmanager
def _shown(listener: Listener, task: Task, place: Reservation) -> Iterator[tuple[Callable[[int, float], None], Watch]]:
    """What is shown of each fold, epoch and step; a bar where a person looks."""
    folds = len(task.splits)

    def resumed(epoch: int) -> None:
        listener.say(f"{'resumed':{LABEL}}in epoch {epoch}")

    def fold_line(number: int, loss: float) -> str:
        return f"fold {number:4d}  of {folds}: {loss:.6f} nats per item on the rows kept from it"

    if listener.error is not None or not Console().is_terminal:

        def say(line: object) -> None:
            listener.say(line)
            tell_notes(place)

        yield lambda number, loss: say(fold_line(number, loss)), Watch(say, resumed=resumed)
        return
    columns = TextColumn("{task.fields[what]}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(), transient=True) as bar:
        progress = bar.add_task("", what="fold 1" if folds else "epoch 1", total=None)

        def on_fold(number: int, loss: float) -> None:
            bar.print(fold_line(number, loss), highlight=False, soft_wrap=True)
            bar.reset(progress, what=f"fold {number + 1}" if number < folds else "epoch 1")

        def on_epoch(epoch: Epoch) -> None:
            bar.print(str(epoch), highlight=False, soft_wrap=True)
            tell_notes(place)
            bar.reset(progress, what=f"epoch {epoch.number + 1}")

        yield on_fold, Watch(on_epoch, lambda done, total: bar.update(progress, completed=done, total=total), resumed)


def _task_lines(task: Task, positive: str | None) -> list[str]:
    examples, target = task.read.examples, task.read.target
    kinds = list(examples.kinds.values())
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("numeric", "categorical") if kind in kinds]
    yes, no = target.positive, target.negative
    known = positive is not None or (yes.lower() in YES and no.lower() in NO)
    turn = "" if known else f" (to turn them: --positive {shlex.quote(no)})"
    lines = [
        f"{'table':{LABEL}}{task.name}: {len(examples):,} rows, {' and '.join(counts)} "
        f"column{'s' * (len(kinds) > 1)}; {target.column} = {yes} in {percent(examples.base_rate)}, the other value "
        f"is {no}{turn}"
    ]
    lines += _left_out(task.read.left_out)
    lines += [f"{'note':{LABEL}}{note}" for note in task.read.notes]
    lines.append(f"{'split':{LABEL}}{_split(task)}")
    return lines


def _left_out(columns: dict[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in columns.items():
        by_reason.setdefault(reason, []).append(name)
    shown = (f"{_some(names)} ({reason})" for reason, names in by_reason.items())
    return [f"{'left out':{LABEL}}{', '.join(shown)}"] if by_reason else []


def _split(task: Task) -> str:
    rows = f"{len(task.train):,} rows"
    if task.test is not None:
        return f"{rows} to learn from, {len(task.test):,} kept aside to test"
    if task.splits:
        return (
            f"{len(task.splits)} folds: each is predicted by a model that has not seen it; the model that is kept "
            f"learns from all {rows}"
        )
    return f"all {rows} to learn from, none kept aside: there will be no honest estimate"


def _network_line(chosen: Recipe, seed: int) -> str:
    if chosen.linear:
        return f"{'network':{LABEL}}none: so few rows are learnt best by logistic regression"
    layers = "-".join(map(str, chosen.hidden)) or "none, linear only"
    heads = f" of {chosen.heads} heads" if chosen.heads > 1 else ""
    limit = "" if chosen.time_budget is None else f", {chosen.time_budget:g} s"
    trees = "" if chosen.trees is None else "; boosted trees beside them"
    return (
        f"{'network':{LABEL}}{counted(chosen.members, 'network')}{heads}, hidden layers {layers}; {chosen.optimizer}, "
        f"batches of {chosen.batch_size}, at most {counted(chosen.epochs, 'epoch')}{limit}, seed {seed}{trees}"
    )


def _result_lines(trained: Trained, task: Task) -> list[str]:
    learnt, estimate = trained.learnt, trained.estimate
    history, judged = learnt.fitted.history, len(learnt.fitted.chosen_on)
    best = history.best
    lines = [
        *_left_out(learnt.screened),
        f"{'chosen':{LABEL}}epoch {best.number} of {len(history)}, on {judged:,} rows that its networks did not learn "
        f"from: {best.judged:.6f}; train {trained.train_bce:.6f}",
    ]
    if learnt.fitted.blend is not None:
        lines.append(f"{'trees':{LABEL}}{learnt.fitted.blend.in_words}")
    calibration = learnt.fitted.calibration
    if calibration is not None:
        lines.append(f"{'scaled':{LABEL}}{calibration.in_words}")
    if estimate is None:
        explanation = chosen_explanation(learnt)
        lines.append(
            f"{'estimate':{LABEL}}none: no rows were kept aside (--test-share, --folds or --test); the figure above is "
            "too good, as it was chosen"
        )
    else:
        explanation = estimate.explanation
        lines += _estimate_lines(estimate, task)
    lines += _explain_lines(explanation)
    if estimate is not None and estimate.importances:
        lines.append(f"{'columns':{LABEL}}{_worth(estimate.importances)}")
    if estimate is not None:
        lines += [f"{'WARNING':{LABEL}}{text}" for text in _warnings(estimate, task)]
    lines.append(f"{'saved':{LABEL}}{trained.folder}/  {'  '.join(trained.files)}")
    return lines


def _estimate_lines(estimate: Estimate, task: Task) -> list[str]:
    found = estimate.explanation
    auc = f", AUC {estimate.auc:.4f}" if task.is_reliable and not math.isnan(estimate.auc) else ""
    lines = [
        f"{'estimate':{LABEL}}{found.mean:.6f} +- {found.standard_error:.6f} nats per item "
        f"({found.mean / math.log(2):.4f} bits) on {len(estimate.rows):,} rows, {what_rows(estimate)}{auc}"
    ]
    return lines + [f"{'':{LABEL}}{_beside(other)}" for other in estimate.differences]


def _beside(other: Difference) -> str:
    low, high = other.more - 1.96 * other.error, other.more + 1.96 * other.error
    difference = f"{abs(other.more):.4f} {'more' if other.more >= 0 else 'less'}"
    return f"{other.name} costs {other.bce:.6f} on the same rows: {difference}, 95 % {low:+.4f} to {high:+.4f}"


def _explain_lines(explanation: Explanation) -> list[str]:
    typical = f"typical probability given to the truth {explanation.typical_probability:.4f}"
    lines = [
        f"{'explain':{LABEL}}total {explanation.total:.4f} over {counted(explanation.count, 'item')}, "
        f"mean {explanation.mean:.6f}: it is a MEAN; {typical}"
    ]
    if explanation.calibration:
        words = explanation.calibration.in_words(explanation.baseline)
        lines.append(f"{'':{LABEL}}calibration: {words}")
    worst = explanation.items[0]
    lines.append(
        f"{'':{LABEL}}the item that costs most is row {worst.row}: {worst.formula} = {worst.loss:.2f} "
        f"(target {worst.target:g})"
    )
    return lines


def _worth(columns: list[Importance]) -> str:
    """The columns that the loss would miss most."""
    first = ", ".join(f"{one.column} {one.nats:.4f} +- {one.error:.4f}" for one in columns[:4])
    return f"worth most, in nats per item: {first}"


def _warnings(estimate: Estimate, task: Task) -> list[str]:
    """What must not be overlooked: figures that chance makes, and models that know nothing."""
    base = estimate.differences[0]
    rate = percent(task.train.base_rate)
    interval = f"{base.more - 1.96 * base.error:+.2g} to {base.more + 1.96 * base.error:+.2g}"
    if not task.is_reliable:
        few = int(np.bincount(estimate.answers, minlength=2).min())
        return [
            f"{counted(few, 'row')} of the rarer class among those that the estimate is made on: too few to say "
            "whether this model knows anything"
        ]
    if base.more < 0:
        return [
            f"the model is WORSE than always answering {rate}: it costs {-base.more:.4f} nats per item more "
            f"(95 % {interval} less)"
        ]
    if base.more < 1.96 * base.error:
        return [
            f"no better than always answering {rate}, as far as these rows can tell: it costs {base.more:.2g} nats "
            f"per item less, 95 % {interval}"
        ]
    return []


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {counted(len(names) - 8, 'more column')}"
