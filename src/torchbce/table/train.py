"""Train on a task: estimate by folds, fit the final model, estimate on test rows."""

from __future__ import annotations

from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.outcome import Outcome
from torchbce.table.task import OnFold, Task


def train(
    task: Task,
    options: UserOptions,
    *,
    seed: int,
    compare: bool = False,
    on_fold: OnFold | None = None,
    callbacks: Callbacks | None = None,
) -> Outcome:
    """Train on a prepared table.

    Raises:
        InputError: a loss that is not finite.
    """
    table, callbacks = task.table, callbacks or Callbacks()
    options = options.for_each_of(task.outline.folds + 1)
    by_folds = table.cross_validate(options, seed, compare=compare, on_fold=on_fold, callbacks=callbacks)
    fit = table.fit(options, seed, callbacks)
    on_test = table.evaluate(fit, seed, compare=compare, callbacks=callbacks)
    return Outcome(
        outline=task.outline,
        trained=fit.trained,
        estimate=by_folds if on_test is None else on_test,
        train_bce=fit.train_bce,
        sample=fit.sample,
        seed=seed,
        reading=fit.reading,
    )
