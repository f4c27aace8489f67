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


def write_page(path: Path, found: ComparisonRecord, title: str) -> None:
    """Write the verdict, the numbers, a picture, groups and items; the file appears whole or not at all."""
    from torchbce.comparison.plots import ComparisonDisplay
    from torchbce.explanation.plots.figure import to_svg

    told = [
        (name, text) for name, text in facts(found) if not name.startswith(("group", "confidence", "gained", "lost"))
    ]
    render_page(
        path,
        "torchbce.comparison",
        "comparison",
        title=title,
        found=found,
        verdict=verdict(found),
        numbers=_numbers(found),
        told=told,
        figure=to_svg(ComparisonDisplay.from_comparison(found).plot().figure_),
    )


def write_periods(path: Path, found: Change | OverTime, title: str) -> None:
    """Write the verdict, a picture of the periods, and a table; the file appears whole or not at all."""
    from torchbce.comparison.plots import OverTimeDisplay
    from torchbce.explanation.plots.figure import to_svg

    figure, head = "", ["period", "items", "base rate", "mean loss, nats per item"]
    if isinstance(found, OverTime):
        figure = to_svg(OverTimeDisplay.from_periods(found).plot().figure_)
        rows = [
            [name, f"{one.count:,}", percent(one.base_rate), around(one.weighted_mean, one.intervals["mean"], ".4f")]
            for name, one in zip(found.names, found.explanations, strict=True)
        ]
    else:
        head = ["part", "change, nats per item"]
        rows = [[name, around(part.nats, part.interval, "+.6f")] for name, part in found.parts]
    render_page(path, "torchbce.comparison", "periods", title=title, found=found, figure=figure, head=head, rows=rows)


def _numbers(found: ComparisonRecord) -> list[tuple[str, str, str]]:
    """Return what is read first: for each card a name, a number and a note."""
    a, b = map(shown, found.names)
    p = "no p-value" if found.p_value is None else p_text(found.p_value)
    return [
        (f"{b} - {a}, nats per item", f"{found.difference:+.4f}", f"95 %: {_bounds(found.interval)}; {p}"),
        (a, f"{found.means[0]:.4f}", "mean loss, nats per item"),
        (b, f"{found.means[1]:.4f}", "mean loss, nats per item"),
        (f"cost less with {b}", f"{100 * found.better:.1f} %", f"of {found.count:,} items"),
    ]


def _bounds(interval: Interval) -> str:
    return "unknown" if math.isnan(interval.low) else f"{interval.low:+.4f} to {interval.high:+.4f}"
