"""report.html: one file that needs no network and no other file, by jinja2."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torchbce.common.text import loss_text, percent, probability_text
from torchbce.common.visible import MESSAGE, shown
from torchbce.common.writing import whole_file
from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.render import text as wording
from torchbce.explanation.statistics.intervals import NOTHING

LEDGER = "The ledger: from what the base rate costs to the mean loss"
EXPLORED = 12  # items on the curve that can be dragged


def write_report(
    path: Path,
    *,
    title: str,
    explanation: ExplanationRecord,
    facts: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> None:
    """Write the explanation, its items on a curve to explore, and figures; the file appears whole or not at all.

    Args:
        path: the file to make.
        title: the heading.
        explanation: what is reported.
        facts: more to say, in a table at the top.
        figures: SVG elements by their headings; by default those of the explanation.

    All text is escaped and safe to show, and the page may run no script but its own.
    """
    render_page(
        path,
        "torchbce.explanation.render",
        "report",
        title=title,
        facts=dict(facts or {}),
        explanation=explanation,
        numbers=_numbers(explanation),
        told=[(name, text) for name, text in wording.facts(explanation) if not name.startswith("group ")],
        figures=_figures(explanation) if figures is None else dict(figures),
        explored=_explored(explanation),
    )


def render_page(path: Path, package: str, name: str, **values: Any) -> None:
    """Fill in a package's template, which extends page.html.j2 and may have a script of its name; written whole."""
    import jinja2

    templates = files(package) / "templates"
    script = templates / f"{name}.js"
    code = script.read_text(encoding="utf-8") if script.is_file() else ""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(of) for of in (package, "torchbce.explanation.render")]),
        autoescape=True,
        finalize=_safe,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "loss": loss_text,
        "probability": probability_text,
        "interval": _interval,
        "verdict": wording.verdict,
    }
    page = environment.get_template(f"{name}.html.j2").render(
        script=code, script_hash=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(), **values
    )
    with whole_file(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def _safe(value: Any) -> Any:
    """Return text as it is shown, and what templates or figures made unchanged."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else shown(value, MESSAGE)


def _interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return "" if math.isnan(low) else f"{low:.4f} to {high:.4f}"


def _numbers(record: ExplanationRecord) -> list[tuple[str, str, str]]:
    """Return what is read first: for each card a name, a number and a note."""
    items = f"{record.count:,} items, {percent(record.base_rate)} ones"
    mean = _interval(record.intervals.get("mean", NOTHING))
    numbers = [("mean loss, nats per item", f"{record.mean:.4f}", f"95 %: {mean}" if mean else items)]
    if record.baseline > 0:
        numbers.append(("always the base rate", f"{record.baseline:.4f}", items))
        d2 = record.intervals.get("d2", NOTHING)
        note = "" if math.isnan(d2.low) else f"95 %: {100 * d2.low:.1f} to {100 * d2.high:.1f} %"
        numbers.append(("saved (D2)", f"{100 * record.d2:.1f} %", note))
    if not math.isnan(record.auc):
        auc = _interval(record.intervals.get("auc", NOTHING))
        numbers.append(("AUC", f"{record.auc:.4f}", f"95 %: {auc}" if auc else ""))
    return numbers


def _figures(explanation: ExplanationRecord) -> dict[str, str]:
    from torchbce.explanation.plots import LedgerDisplay, LossHistogramDisplay, ReliabilityDisplay
    from torchbce.explanation.plots.figure import to_svg

    if explanation.count <= EXPLORED:
        return {}  # the curve shows them all
    displays: dict[str, Any] = {}
    if math.isfinite(explanation.total):
        displays[LEDGER] = LedgerDisplay.from_explanation(explanation)
    displays |= {"What the items cost": LossHistogramDisplay.from_explanation(explanation)}
    if explanation.reliability is not None:
        displays["Reliability of the predictions"] = ReliabilityDisplay.from_explanation(explanation)
    return {name: to_svg(display.plot().figure_) for name, display in displays.items()}


def _explored(explanation: ExplanationRecord) -> dict[str, Any]:
    """Return what the script needs to work out the loss again when an item is moved."""
    items = explanation.items[:EXPLORED] if math.isfinite(explanation.total) else ()  # nothing moves an infinite total
    moved = sum(item.loss for item in items)
    return {
        "count": explanation.count,
        "rest": explanation.total - moved if len(items) < explanation.count else 0.0,
        "items": [
            {
                "name": shown(item.name),
                "target": item.target,
                "weight": item.weight,
                "probability": item.probability,
                "loss": item.loss,
            }
            for item in items
        ],
    }
