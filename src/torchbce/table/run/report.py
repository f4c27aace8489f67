"""report.html: a page about a run, which needs nothing from outside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torchbce.explanation.explain import Explanation, explain
from torchbce.explanation.render.text import with_error
from torchbce.table.estimate import Estimate
from torchbce.table.model import TrainedModel
from torchbce.table.outcome import Outcome
from torchbce.table.partial_dependence import partial_dependence

SHOWN, DRAWN = 20, 6  # columns in the picture of their worth, and those whose effect is drawn


def write_report(path: Path, outcome: Outcome) -> None:
    """What the estimate's rows cost and why, and how the model came about."""
    from torchbce.explanation.plots import LedgerDisplay, LossCurveDisplay, LossHistogramDisplay, ReliabilityDisplay
    from torchbce.explanation.plots.figure import to_svg
    from torchbce.explanation.render.html import LEDGER
    from torchbce.explanation.render.html import write_report as write_page

    trained, estimate = outcome.trained, outcome.estimate
    history = trained.fitted.history
    levels = {} if estimate is None else {other.name: other.bce for other in estimate.differences}
    explanation = estimate.explanation if estimate else chosen_explanation(trained)
    whose = what_rows(estimate)
    displays: dict[str, Any] = {
        LEDGER: LedgerDisplay.from_explanation(explanation),
        "Loss over the epochs of the model that is kept": LossCurveDisplay(
            {"running": [epoch.running for epoch in history], "validation": [epoch.judged for epoch in history]},
            epochs=[epoch.number for epoch in history],
            levels=levels,
            best=history.best.number,
        ),
        f"Reliability of the predictions of {whose}": ReliabilityDisplay.from_explanation(explanation),
        f"What single items cost, {whose}": LossHistogramDisplay.from_explanation(explanation),
    }
    if estimate is not None:
        displays |= _column_displays(outcome, estimate)
    write_page(
        path,
        title=f"{outcome.outline.name}: {outcome.outline.target.column}",
        facts={"predicts": outcome.outline.target.predicted}
        | _facts(trained, estimate, explanation, outcome.train_bce),
        explanation=explanation,
        figures={name: to_svg(display.plot().figure_) for name, display in displays.items()},
    )


def _column_displays(outcome: Outcome, estimate: Estimate) -> dict[str, Any]:
    """What the columns are worth, and what the model makes of the most important."""
    from torchbce.explanation.plots import EffectDisplay, ImportanceDisplay

    first = estimate.importances[:SHOWN]
    found: dict[str, Any] = {}
    if first:
        found["What each column is worth"] = ImportanceDisplay(
            [one.column for one in first], [one.nats for one in first], [one.error for one in first]
        )
    model, base_rate = outcome.trained.model, outcome.outline.train.base_rate
    used = {column.name for column in model.columns}
    for one in [one for one in first if one.column in used and one.nats > one.error][:DRAWN]:
        curve = partial_dependence(model, outcome.sample, one.column, seed=0)
        found[f"The answer as {one.column} varies"] = EffectDisplay(
            curve.column, curve.values, curve.probabilities.tolist(), base_rate=base_rate
        )
    return found


def what_rows(estimate: Estimate | None) -> str:
    """The rows that a figure is about."""
    if estimate is None:
        return "the validation rows"
    if not estimate.by_folds:
        return "the test rows"
    # Forward in time the first rows are predicted by no fold, and of a group some rows may be left out.
    return "all rows, out of fold" if len(estimate.rows) == estimate.rows.max() else "those predicted out of fold"


def chosen_explanation(trained: TrainedModel) -> Explanation:
    """Of the rows that the epoch was chosen by, where no others were kept aside."""
    fitted = trained.fitted
    weight = None if fitted.weight is None else fitted.weight / fitted.weight.mean()
    return explain(
        fitted.held_out_logits,
        fitted.target.astype(float),
        from_logits=True,
        weight=weight,
        rows=fitted.chosen_on + 1,
    )


def _facts(
    trained: TrainedModel, estimate: Estimate | None, explanation: Explanation, train_bce: float
) -> dict[str, str]:
    history = trained.fitted.history
    facts = {}
    if estimate is not None:
        facts[f"estimated BCE, {what_rows(estimate)}"] = f"{with_error(explanation)} nats per item"
        if not math.isnan(estimate.auc):
            facts["AUC of the same rows"] = f"{estimate.auc:.4f}"
        facts |= {
            f"{other.name}, same rows": f"{other.bce:.6f} nats per item, {other.more:+.6f} +- {other.error:.6f} more"
            for other in estimate.differences
        }
    facts["epoch chosen"] = f"{history.best.number} of {len(history)}"
    facts["validation BCE, on which it was chosen"] = f"{history.best.judged:.6f} nats per item"
    if trained.fitted.blend is not None:
        facts["trees"] = trained.fitted.blend.summary()
    facts["train BCE of the model"] = f"{train_bce:.6f} nats per item"
    return facts
