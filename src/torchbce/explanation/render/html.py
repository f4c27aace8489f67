"""report.html: one file that needs no network and no other file, by jinja2."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torchbce.common.writing import whole_file
from torchbce.explanation.render.text import loss_text, probability_text
from torchbce.explanation.result import Explanation

EXPLORED = 12  # items on the curve that can be dragged


def write_report(
    path: Path,
    *,
    title: str,
    explanation: Explanation,
    facts: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> None:
    """The explanation, its items on a curve to explore, and figures; the file appears whole or not at all.

    Args:
        path: the file to make.
        title: the heading.
        explanation: what is reported.
        facts: more to say, in a table at the top.
        figures: SVG elements by their headings; by default those of the explanation.

    All text is escaped, and the page may run no script but its own.
    """
    import jinja2

    script = (files("torchbce.explanation.render") / "templates" / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbce.explanation.render"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"loss": loss_text, "probability": probability_text}
    page = environment.get_template("report.html.j2").render(
        title=title,
        facts=dict(facts or {}),
        explanation=explanation,
        figures=_figures(explanation) if figures is None else dict(figures),
        explored=_explored(explanation),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with whole_file(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def _figures(explanation: Explanation) -> dict[str, str]:
    from torchbce.explanation.plots import LossHistogramDisplay, ReliabilityDisplay
    from torchbce.explanation.plots.figure import to_svg

    if explanation.count <= EXPLORED:
        return {}  # the curve shows them all
    displays: dict[str, Any] = {"What the items cost": LossHistogramDisplay.from_explanation(explanation)}
    if explanation.reliability is not None:
        displays = {"Reliability of the predictions": ReliabilityDisplay.from_explanation(explanation), **displays}
    return {name: to_svg(display.plot().figure_) for name, display in displays.items()}


def _explored(explanation: Explanation) -> dict[str, Any]:
    """What the script needs to work out the loss again when an item is moved."""
    items = explanation.items[:EXPLORED] if math.isfinite(explanation.total) else ()  # nothing moves an infinite total
    shown = sum(item.loss for item in items)
    return {
        "count": explanation.count,
        "rest": explanation.total - shown if len(items) < explanation.count else 0.0,
        "items": [
            {
                "name": item.name,
                "target": item.target,
                "weight": item.weight,
                "probability": item.probability,
                "loss": item.loss,
            }
            for item in items
        ],
    }
