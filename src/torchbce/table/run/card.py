"""Write MODEL_CARD.md: what a model is, its loss and on which rows that was measured (after Mitchell et al., 2019)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from torchbce.common.markdown import code, escaped
from torchbce.common.text import counted, percent
from torchbce.explanation.render.text import thin, with_error
from torchbce.table.columns.columns import CalendarColumn, CategoricalColumn, FittedColumn, NumericColumn
from torchbce.table.estimate import Estimate
from torchbce.table.run.folder import ModelFile
from torchbce.table.run.report import describe_rows

MAX_COLUMNS = 200  # columns that are listed
SECONDS_PER_DAY = 86_400  # seconds


def model_card(described: ModelFile, estimate: Estimate | None) -> str:
    """Return the card in Markdown."""
    source, share = code(described.source), percent(described.result["base_rate"] or 0.0)
    column, yes, no = map(code, (described.target.column, described.target.positive, described.target.negative))
    lines = [
        f"# {source}: {column}",
        "",
        f"Probability that {column} is {yes} and not {no}, for a row of a table. "
        f"{_describe_members(described)}, trained on binary cross-entropy by torchbce "
        f"{described.versions['torchbce']}.",
        "",
        "## What it is worth",
        "",
        *_estimate_lines(described, estimate),
        "",
        "## What it learnt from",
        "",
        f"{described.training['rows']:,} rows of {source}, of which {share} are {yes}; "
        f"seed {described.training['seed']}.",
        "",
        *([str(described.training["dropped"]), ""] if described.training.get("dropped") else []),
        "## Columns that it needs",
        "",
        "| column | kind | in training |",
        "| --- | --- | --- |",
        *_column_rows(described.columns),
        "",
        *_left_out_lines(described.left_out),
        "## Limits",
        "",
        "- The figures hold for rows from the same source as those above, not for another time, place or population.",
        "- A number beyond those of training counts as the nearest of these; an unknown category gets the mean "
        "answer over the training rows' values.",
        "- What each column is worth says what the model uses, not what causes the target.",
        "",
        "## Use",
        "",
        "```",
        "torchbce predict RUN new.csv --out predictions.csv",
        "```",
        "",
        "or `torchbce.load(RUN).predict_proba(frame)` in Python; `torchbce export RUN model.onnx` for other runtimes.",
    ]
    return "\n".join(lines) + "\n"


def _describe_members(described: ModelFile) -> str:
    networks = f"An ensemble of {counted(described.members, 'small network')}"
    if not described.trees:
        return networks
    trees = counted(len(described.trees), "set")
    return f"{networks} and {trees} of boosted trees, whose weight in the blended logit is {described.share:.3f}"


def _estimate_lines(described: ModelFile, estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return ["No rows were kept aside, so there is no estimate. The loss that the epoch was chosen by is too good."]
    explanation = estimate.explanation
    lines = [
        f"Seen on {len(estimate.rows):,} rows, {describe_rows(estimate)}: "
        + (
            "each is predicted by a model of the same kind that was trained and chosen without it."
            if estimate.by_folds
            else "none of them was used to train or to choose."
        ),
        "",
        "| answer | BCE, nats per item | more than the model |",
        "| --- | ---: | ---: |",
        f"| **this model** | {with_error(explanation, '±')} | |",
        *(
            f"| {other.name} | {other.bce:.6f} | {other.more:+.6f} ± {other.error:.6f} |"
            for other in estimate.differences
        ),
        "",
        "± is a standard error.",
        *([f"Of this model {thin(explanation)}."] if thin(explanation) else []),
    ]
    if explanation.miscalibrated is not None:
        lines.append(f"Calibration: {explanation.miscalibrated}.")
    if estimate.importances:
        first = [f"{code(own.column)} {own.nats:.4f} ± {own.error:.4f}" for own in estimate.importances[:10]]
        shown = ", ".join(first)
        lines += ["", f"Columns that are worth most, in nats per item: {shown}."]
    return lines


def _column_rows(columns: list[FittedColumn]) -> list[str]:
    rows = []
    for column in columns:
        if isinstance(column, CalendarColumn):
            continue
        if isinstance(column, CategoricalColumn):
            few = ", ".join(code(level, in_table=True) for level in column.levels[:5])
            more = f" and {len(column.levels) - 5} more" if len(column.levels) > 5 else ""
            kind, seen = "category", f"{few}{more}"
        else:
            kind, seen = (
                ("date", _dates(column)) if column.is_date else ("number", f"{column.low:g} to {column.high:g}")
            )
        gaps = ", with gaps" if column.gaps else ""
        rows.append(f"| {code(column.name, in_table=True)} | {kind} | {seen}{gaps} |")
    return [*rows[:MAX_COLUMNS], *([f"| {len(rows) - MAX_COLUMNS} more | | |"] if len(rows) > MAX_COLUMNS else [])]


def _dates(column: NumericColumn) -> str:
    """Return the first and last date as ISO 8601 writes them: days, or seconds where there are times of day."""
    unit: Literal["D", "s"] = "D" if column.low.is_integer() and column.high.is_integer() else "s"
    low, high = (
        np.datetime64(round(days * SECONDS_PER_DAY), "s").astype(f"datetime64[{unit}]")
        for days in (column.low, column.high)
    )
    return f"{low} to {high}"


def _left_out_lines(columns: dict[str, str]) -> list[str]:
    if not columns:
        return []
    some = ", ".join(f"{code(name)} ({escaped(reason)})" for name, reason in list(columns.items())[:MAX_COLUMNS])
    return [f"Left out: {some}.", ""]
