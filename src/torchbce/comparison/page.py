"""A comparison as a page that needs no network and no other file."""

from __future__ import annotations

import math
from pathlib import Path

from torchbce.comparison.result import Comparison
from torchbce.explanation.render.html import render_page
from torchbce.explanation.statistics.intervals import Interval


def write_page(path: Path, found: Comparison, title: str) -> None:
    """The verdict, the numbers, a picture of all differences, groups and items; the file appears whole or not."""
    from torchbce.comparison.plots import ComparisonDisplay
    from torchbce.explanation.plots.figure import to_svg

    told = [
        (name, text) for name, text in found.facts if not name.startswith(("group", "confidence", "gained", "lost"))
    ]
    render_page(
        path,
        "torchbce.comparison",
        "comparison",
        title=title,
        found=found,
        numbers=_numbers(found),
        told=told,
        figure=to_svg(ComparisonDisplay.from_comparison(found).plot().figure_),
    )


def _numbers(found: Comparison) -> list[tuple[str, str, str]]:
    """What is read first: a name, a number and a note under it."""
    a, b = found.names
    p = "no p-value" if found.p_value is None else f"p = {found.p_value:.2g}"
    return [
        (f"{b} - {a}, nats per item", f"{found.difference:+.4f}", f"95 %: {_bounds(found.interval)}; {p}"),
        (a, f"{found.means[0]:.4f}", "mean loss, nats per item"),
        (b, f"{found.means[1]:.4f}", "mean loss, nats per item"),
        (f"cost less with {b}", f"{100 * found.better:.1f} %", f"of {found.count:,} items"),
    ]


def _bounds(interval: Interval) -> str:
    return "unknown" if math.isnan(interval.low) else f"{interval.low:+.4f} to {interval.high:+.4f}"
