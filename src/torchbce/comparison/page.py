"""A comparison as a page that needs no network and no other file."""

from __future__ import annotations

import math
from pathlib import Path

from torchbce.common.text import around, percent
from torchbce.common.visible import shown
from torchbce.comparison.over_time import OverTime
from torchbce.comparison.periods import Change
from torchbce.comparison.record import ComparisonRecord
from torchbce.comparison.wording import facts, p_text, verdict
from torchbce.explanation.render.html import render_page
from torchbce.explanation.statistics.intervals import Interval


def write_page(path: Path, record: ComparisonRecord, title: str) -> None:
    """Write the verdict, the numbers, a picture, groups and items; the file appears whole or not at all."""
    from torchbce.comparison.plots import ComparisonDisplay
    from torchbce.explanation.plots.figure import to_svg

    lines = [
        (name, text) for name, text in facts(record) if not name.startswith(("group", "confidence", "gained", "lost"))
    ]
    render_page(
        path,
        "torchbce.comparison",
        "comparison",
        title=title,
        record=record,
        verdict=verdict(record),
        numbers=_numbers(record),
        lines=lines,
        figure=to_svg(ComparisonDisplay.from_comparison(record).plot().figure_),
    )


def write_periods(path: Path, change: Change | OverTime, title: str) -> None:
    """Write the verdict, a picture of the periods, and a table; the file appears whole or not at all."""
    from torchbce.comparison.plots import OverTimeDisplay
    from torchbce.explanation.plots.figure import to_svg

    figure, head = "", ["period", "items", "base rate", "mean loss, nats per item"]
    if isinstance(change, OverTime):
        figure = to_svg(OverTimeDisplay.from_periods(change).plot().figure_)
        rows = [
            [
                name,
                f"{explained.count:,}",
                percent(explained.base_rate),
                around(explained.weighted_mean, explained.intervals["mean"], ".4f"),
            ]
            for name, explained in zip(change.names, change.explanations, strict=True)
        ]
    else:
        head = ["part", "change, nats per item"]
        rows = [[name, around(part.nats, part.interval, "+.6f")] for name, part in change.parts]
    render_page(path, "torchbce.comparison", "periods", title=title, change=change, figure=figure, head=head, rows=rows)


def _numbers(record: ComparisonRecord) -> list[tuple[str, str, str]]:
    """Return what is read first: for each card a name, a number and a note."""
    a, b = map(shown, record.names)
    p = "no p-value" if record.p_value is None else p_text(record.p_value)
    return [
        (f"{b} - {a}, nats per item", f"{record.difference:+.4f}", f"95 %: {_bounds(record.interval)}; {p}"),
        (a, f"{record.means[0]:.4f}", "mean loss, nats per item"),
        (b, f"{record.means[1]:.4f}", "mean loss, nats per item"),
        (f"cost less with {b}", f"{100 * record.better:.1f} %", f"of {record.count:,} items"),
    ]


def _bounds(interval: Interval) -> str:
    return "unknown" if math.isnan(interval.low) else f"{interval.low:+.4f} to {interval.high:+.4f}"
