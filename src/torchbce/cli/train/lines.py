"""The lines that `torchbce train` prints of a table before training, and of a model after it."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import numpy as np

from torchbce.common.text import counted, percent
from torchbce.common.visible import shown
from torchbce.explanation.explain import Explanation
from torchbce.explanation.render.text import thin, with_error
from torchbce.io.yes_no import NO, YES
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.estimate import Difference, Estimate
from torchbce.table.importance import Importance
from torchbce.table.outcome import Outcome, Outline
from torchbce.table.run.report import describe_rows, explain_validation_rows
from torchbce.table.splits.straddling import left_out

LABEL = 10  # width of the first word of a line


def outline_lines(outline: Outline, positive: str | None) -> list[str]:
    """Describe what was read."""
    kinds, target = list(outline.kinds.values()), outline.target
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("numeric", "categorical") if kind in kinds]
    column, yes, no = shown(target.column), shown(target.positive), shown(target.negative)
    known = positive is not None or (target.positive.lower() in YES and target.negative.lower() in NO)
    turn = "" if known else f" (to turn them: --positive {shlex.quote(no)})"
    lines = [
        f"{'table':{LABEL}}{shown(outline.name)}: {outline.whole.rows:,} rows, {' and '.join(counts)} "
        f"column{'s' * (len(kinds) > 1)}; {column} = {yes} in {percent(outline.whole.base_rate)}, the other value "
        f"is {no}{turn}"
    ]
    lines += _left_out(outline.left_out)
    lines += [f"{'note':{LABEL}}{note}" for note in outline.notes]
    lines.append(f"{'split':{LABEL}}{_split(outline)}")
    return lines + [f"{'':{LABEL}}{text}" for text in outline.dropped]


def _left_out(columns: dict[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in columns.items():
        by_reason.setdefault(reason, []).append(name)
    texts = (f"{_some(names)} ({reason})" for reason, names in by_reason.items())
    return [f"{'left out':{LABEL}}{', '.join(texts)}"] if by_reason else []


def _split(outline: Outline) -> str:
    rows = f"{outline.train_rows:,} rows"
    if outline.test is not None:
        return f"{rows} to learn from, {outline.test.rows:,} kept aside to test"
    if outline.folds:
        return (
            f"{outline.folds} folds: each is predicted by a model that has not seen it; the model that is kept "
            f"learns from all {rows}"
        )
    return f"all {rows} to learn from, none kept aside: there will be no honest estimate"


def network_line(config: EnsembleConfig, seed: int) -> str:
    if config.linear:
        return f"{'network':{LABEL}}none: so few rows are learnt best by logistic regression"
    layers = "-".join(map(str, config.hidden)) or "none, linear only"
    heads = f" of {config.heads} heads" if config.heads > 1 else ""
    limit = "" if config.time_budget is None else f", {config.time_budget:g} s"
    trees = "" if config.trees is None else "; boosted trees beside them"
    where = "" if config.device == "cpu" else f", on {config.device}"
    return (
        f"{'network':{LABEL}}{counted(config.members, 'network')}{heads}, hidden layers {layers}; {config.optimizer}, "
        f"batches of {config.batch_size}, at most {counted(config.epochs, 'epoch')}{limit}, seed {seed}{where}{trees}"
    )


def result_lines(outcome: Outcome, folder: Path) -> list[str]:
    """Describe the trained model and its estimate."""
    trained, estimate = outcome.trained, outcome.estimate
    history, judged = trained.fitted.history, len(trained.fitted.chosen_on)
    best = history.best
    lines = [
        *_left_out(trained.screened),
        f"{'chosen':{LABEL}}epoch {best.number} of {len(history)}, on {judged:,} rows that its networks did not learn "
        f"from: {best.judged:.6f}; train {outcome.train_bce:.6f}",
        *(f"{'':{LABEL}}{text}" for text in left_out(trained.unused)),
    ]
    if outcome.reading is not None:
        lines.append(f"{'reading':{LABEL}}{outcome.reading:.1%} of the time of training was spent waiting for rows")
    if trained.fitted.blend is not None:
        lines.append(f"{'trees':{LABEL}}{trained.fitted.blend.summary()}")
    calibration = trained.fitted.calibration
    if calibration is not None:
        lines.append(f"{'scaled':{LABEL}}{calibration.summary()}")
    if estimate is None:
        explanation = explain_validation_rows(trained)
        lines.append(
            f"{'estimate':{LABEL}}none: no rows were kept aside (--test-share, --folds or --test); the figure above is "
            "too good, as it was chosen"
        )
    else:
        explanation = estimate.explanation
        lines += _estimate_lines(estimate, outcome.outline)
    lines += _explain_lines(explanation)
    if estimate is not None and estimate.importances:
        lines.append(f"{'columns':{LABEL}}{_worth(estimate.importances)}")
    if estimate is not None:
        lines += [f"{'WARNING':{LABEL}}{text}" for text in _warnings(estimate, outcome.outline)]
    lines.append(f"{'predicts':{LABEL}}{outcome.outline.target.predicted}")
    lines.append(f"{'saved':{LABEL}}{folder}/  {'  '.join(sorted(path.name for path in folder.iterdir()))}")
    return lines


def _estimate_lines(estimate: Estimate, outline: Outline) -> list[str]:
    explanation = estimate.explanation
    auc = f", AUC {estimate.auc:.4f}" if outline.is_reliable and not math.isnan(estimate.auc) else ""
    lines = [
        f"{'estimate':{LABEL}}{with_error(explanation)} nats per item "
        f"({explanation.mean / math.log(2):.4f} bits) on {len(estimate.rows):,} rows, {describe_rows(estimate)}{auc}"
    ]
    if thin(explanation):
        lines.append(f"{'':{LABEL}}{thin(explanation)}")
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
    if explanation.miscalibrated is not None:
        lines.append(f"{'':{LABEL}}calibration: {explanation.miscalibrated}")
    worst = explanation.items[0]
    lines.append(
        f"{'':{LABEL}}the item that costs most is row {worst.row}: {worst.formula} = {worst.loss:.2f} "
        f"(target {worst.target:g})"
    )
    return lines


def _worth(columns: list[Importance]) -> str:
    """Name the columns that are worth most."""
    first = ", ".join(f"{shown(one.column)} {one.nats:.4f} +- {one.error:.4f}" for one in columns[:4])
    return f"worth most, in nats per item: {first}"


def _warnings(estimate: Estimate, outline: Outline) -> list[str]:
    """Warn of figures that chance makes, and of models that know nothing."""
    base = estimate.differences[0]
    rate = percent(outline.train.base_rate)
    interval = f"{base.more - 1.96 * base.error:+.2g} to {base.more + 1.96 * base.error:+.2g}"
    if not outline.is_reliable:
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
    first = ", ".join(map(shown, names[:8]))
    return first if len(names) <= 8 else f"{first} and {counted(len(names) - 8, 'more column')}"
