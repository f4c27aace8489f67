"""Train on a task: estimate by folds, fit the final model, estimate on test rows."""

from __future__ import annotations

from dataclasses import replace

from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.outcome import Outcome
from torchbce.table.task import OnFold, Task
from torchbce.table.train_args import TrainArgs


def train(task: Task, args: TrainArgs, *, on_fold: OnFold | None = None, callbacks: Callbacks | None = None) -> Outcome:
    """Train on a prepared table.

    Raises:
        InputError: a loss that is not finite.
    """
    table, callbacks = task.table, callbacks or Callbacks()
    args = replace(args, options=args.options.for_each_of(task.outline.folds + 1))
    by_folds = table.cross_validate(args, on_fold, callbacks)
    fit = table.fit(args, callbacks)
    on_test = table.evaluate(fit, args, callbacks)
    return Outcome(
        outline=task.outline,
        trained=fit.trained,
        estimate=by_folds if on_test is None else on_test,
        train_bce=fit.train_bce,
        sample=fit.sample,
        seed=args.seed,
        reading=fit.reading,
    )
