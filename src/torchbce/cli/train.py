"""`torchbce train`: what is printed while a model is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from torchbce.lens.entropy import percent_below
from torchbce.trainer.history import Epoch
from torchbce.trainer.run_folder import next_free
from torchbce.trainer.train import Task, Trained, plan, prepare, train

LABEL = 10  # width of the first word of a line


def run(
    file: Path,
    target: str,
    *,
    positive: str | None,
    exclude: list[str],
    categorical: list[str],
    seed: int,
    out: Path | None,
    **choices: Any,
) -> None:
    """Train and narrate."""
    task = prepare(file, target, positive=positive, exclude=exclude, categorical=categorical, seed=seed)
    for line in _task_lines(task):
        print(line)
    folder = out or next_free(Path("runs") / file.name.split(".")[0])
    chosen = plan(task, **choices)
    layers = "-".join(map(str, chosen.hidden)) or "none, linear only"
    print(
        f"{'network':{LABEL}}hidden layers {layers}; {chosen.optimizer}, batches of {chosen.batch_size}, at most "
        f"{chosen.epochs} epochs, seed {seed}"
    )
    print(f"{'':{LABEL}}running = mean while the weights moved; train, valid = at the epoch's end; nats per item")
    bar = Progress(
        TextColumn("epoch {task.fields[epoch]:3d}"), BarColumn(), TimeElapsedColumn(), console=Console(), transient=True
    )
    with bar:
        progress = bar.add_task("", epoch=1, total=None)

        def on_step(done: int, total: int) -> None:
            bar.update(progress, completed=done, total=total)

        def on_epoch(epoch: Epoch) -> None:
            bar.print(str(epoch), highlight=False, soft_wrap=True)
            bar.reset(progress, epoch=epoch.number + 1)

        trained = train(task, chosen, folder, seed=seed, on_epoch=on_epoch, on_step=on_step)
    for line in _result_lines(trained):
        print(line)


def _task_lines(task: Task) -> list[str]:
    kinds = [column.kind for column in task.columns]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("numeric", "categorical") if kind in kinds]
    share = 100 * float(task.answers.mean())
    train_rows, valid_rows = task.sizes
    yes = task.target.positive
    lines = [
        f"{'table':{LABEL}}{task.path.name}: {sum(task.sizes):,} rows, {' and '.join(counts)} "
        f"column{'s' * (len(kinds) > 1)}; {task.target.column} = {yes} in {share:.1f} %, "
        f"the other value is {task.target.negative}"
    ]
    unused = [f"{name} ({reason})" for name, reason in task.left_out.items()]
    if unused:
        lines.append(f"{'left out':{LABEL}}{', '.join(unused)}")
    lines.append(f"{'split':{LABEL}}{train_rows:,} rows to train, {valid_rows:,} to validate and to choose the epoch")
    lines.append(
        f"{'baseline':{LABEL}}always answering {100 * task.base_rate:.1f} % costs {task.baseline:.4f} nats per item; "
        f"logistic regression {task.logistic:.4f}: the numbers to beat"
    )
    return lines


def _result_lines(trained: Trained) -> list[str]:
    best, explanation = trained.history.best, trained.explanation
    calibration = explanation.calibration
    typical = f"typical probability given to the truth {explanation.typical_probability:.4f}"
    lines = [
        f"{'best':{LABEL}}epoch {best.number}: valid {best.judged:.6f} nats per item "
        f"({best.judged / math.log(2):.4f} bits), {percent_below(best.judged, best.baseline)}, AUC {trained.auc:.4f}; "
        f"train {best.train:.6f}",
        f"{'explain':{LABEL}}total {explanation.total:.4f} over {explanation.count:,} items, "
        f"mean {explanation.mean:.6f} +- {explanation.standard_error:.4f}: it is a MEAN; {typical}",
    ]
    if calibration:
        lines.append(f"{'':{LABEL}}calibration: {calibration.in_words(explanation.baseline)}")
    worst = explanation.items[0]
    lines.append(
        f"{'':{LABEL}}the item that costs most is row {worst.row}: {worst.formula} = {worst.loss:.2f} "
        f"(target {worst.target:g})"
    )
    lines.append(f"{'saved':{LABEL}}{trained.folder}/  {'  '.join(trained.files)}")
    return lines
