"""MODEL_CARD.md: what a model is, what it is worth and on which rows that was seen (after Mitchell et al., 2019)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from torchbce.common.markdown import code, escaped
from torchbce.common.text import counted, percent
from torchbce.explanation.render.text import thin, with_error
from torchbce.table.columns.columns import CalendarColumn, CategoricalColumn, FittedColumn, NumericColumn
from torchbce.table.estimate import Estimate
from torchbce.table.run.folder import ModelFile
from torchbce.table.run.report import what_rows

MOST = 200  # columns that are listed
DAY = 86_400  # seconds


def model_card(described: ModelFile, estimate: Estimate | None) -> str:
    """In Markdown."""
    source, share = code(described.source), percent(described.result["base_rate"] or 0.0)
    column, yes, no = map(code, (described.target.column, described.target.positive, described.target.negative))
    lines = [
        f"# {source}: {column}",
        "",
        f"Probability that {column} is {yes} and not {no}, for a row of a table. "
        f"{_members(described)}, trained on binary cross-entropy by torchbce {described.versions['torchbce']}.",
        "",
        "## What it is worth",
        "",
        *_worth(described, estimate),
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
        *_columns(described.columns),
        "",
        *_left_out(described.left_out),
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


def _members(described: ModelFile) -> str:
    networks = f"An ensemble of {counted(described.members, 'small network')}"
    if not described.trees:
        return networks
    trees = counted(len(described.trees), "set")
    return f"{networks} and {trees} of boosted trees, which have weight {described.share:.3g} in the blended logit"


def _worth(described: ModelFile, estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return ["No rows were kept aside, so there is no estimate. The loss that the epoch was chosen by is too good."]
    found = estimate.explanation
    lines = [
        f"Seen on {len(estimate.rows):,} rows, {what_rows(estimate)}: "
        + (
            "each is predicted by a model of the same kind that was trained and chosen without it."
            if estimate.by_folds
            else "none of them was used to train or to choose."
        ),
        "",
        "| answer | BCE, nats per item | more than the model |",
        "| --- | ---: | ---: |",
        f"| **this model** | {with_error(found, '±')} | |",
        *(
            f"| {other.name} | {other.bce:.6f} | {other.more:+.6f} ± {other.error:.6f} |"
            for other in estimate.differences
        ),
        "",
        "± is a standard error.",
        *([f"Of this model {thin(found)}."] if thin(found) else []),
    ]
    if found.miscalibrated is not None:
        lines.append(f"Calibration: {found.miscalibrated}.")
    if estimate.importances:
        shown = ", ".join(f"{code(one.column)} {one.nats:.4f} ± {one.error:.4f}" for one in estimate.importances[:10])
        lines += ["", f"Columns that are worth most, in nats per item: {shown}."]
    return lines


def _columns(columns: list[FittedColumn]) -> list[str]:
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
    return [*rows[:MOST], *([f"| {len(rows) - MOST} more | | |"] if len(rows) > MOST else [])]


def _dates(column: NumericColumn) -> str:
    """From when to when, as ISO 8601 writes it: days, or seconds where the times of a day differ."""
    unit: Literal["D", "s"] = "D" if column.low.is_integer() and column.high.is_integer() else "s"
    low, high = (
        np.datetime64(round(days * DAY), "s").astype(f"datetime64[{unit}]") for days in (column.low, column.high)
    )
    return f"{low} to {high}"


def _left_out(columns: dict[str, str]) -> list[str]:
    if not columns:
        return []
    some = ", ".join(f"{code(name)} ({escaped(reason)})" for name, reason in list(columns.items())[:MOST])
    return [f"Left out: {some}.", ""]
