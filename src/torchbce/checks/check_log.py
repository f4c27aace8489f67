"""check_log: what a loss per epoch gives away."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from torchbce.checks.report import Report, report
from torchbce.checks.rules import rules_for
from torchbce.checks.rules.learning_curve import Log
from torchbce.explanation.statistics.decomposition import Decomposition

__all__ = ["check_log"]


def check_log(
    train: Sequence[float],
    valid: Sequence[float] | None = None,
    *,
    base_rate: float | None = None,
    from_logits: bool | None = None,
    batch_size: int | None = None,
    batch_losses: Sequence[Sequence[float]] | None = None,
    batch_counts: Sequence[int] | None = None,
    items_seen: int | None = None,
    dataset_size: int | None = None,
    running: bool = True,
    decompositions: Sequence[Decomposition] | None = None,
    ignore: Collection[str] = (),
) -> Report:
    """Say what is wrong with training, from its loss per epoch; what else is known sharpens it.

    Args:
        train: the loss of each epoch, as it was printed.
        valid: the same for validation data.
        base_rate: the mean of the targets, if the loss is plain BCE, neither weighted nor smoothed: then it is known
            what a constant answer costs.
        from_logits: whether the loss takes logits, so that one item may cost more than 100.
        batch_size: of the training data.
        batch_losses: for each epoch the mean loss of each of its batches, with
        batch_counts: how many items each batch had.
        items_seen, dataset_size: items evaluated in an epoch, on all processes together, and items that there are.
        running: whether `train` is the mean over the epoch, while the weights moved, and not measured at its end.
        decompositions: of each epoch's validation predictions, as `explain(...).decomposition`; they say what rose.
        ignore: codes to leave out.

    Returns:
        A :class:`Report`.

    Raises:
        ValueError: no epochs, lengths that differ, or a code that does not exist.

    Example:
        >>> check_log([0.6931, 0.6930, 0.6932, 0.6931], base_rate=0.3)["BCE020"].level.value
        'warn'
    """
    losses = np.asarray(train, np.float64)
    if losses.ndim != 1 or not len(losses):
        raise ValueError(f"train is a loss per epoch; it has the shape {losses.shape}")
    other = None if valid is None else np.asarray(valid, np.float64)
    if other is not None and other.shape != losses.shape:
        raise ValueError(f"train has {len(losses)} epochs and valid {len(other)}")
    log = Log(
        train=losses,
        valid=other,
        base_rate=base_rate,
        from_logits=from_logits,
        batch_size=batch_size,
        batch_losses=batch_losses,
        batch_counts=batch_counts,
        items_seen=items_seen,
        dataset_size=dataset_size,
        running=running,
        decompositions=decompositions,
    )
    findings = [check(log) for check in rules_for("log").values()]
    return report(findings, ignore=ignore, about=f"{len(losses)} epoch{'s' * (len(losses) != 1)}")
