"""report.html: one file that needs nothing else, by jinja2."""

from __future__ import annotations

from pathlib import Path

from torchbce.lens.explanation import Explanation, loss_text, probability_text


def write_report(
    path: Path, *, title: str, facts: dict[str, str], explanation: Explanation, figures: dict[str, str]
) -> None:
    """Facts, the explanation, figures (SVG elements made by `display`) and the worst items; all text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbce.lens"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"loss": loss_text, "probability": probability_text}
    page = environment.get_template("report.html.j2").render(
        title=title, facts=facts, explanation=explanation, figures=figures
    )
    path.write_text(page, encoding="utf-8")
