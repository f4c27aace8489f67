"""Writes the table of all checks in docs/checks.md, and docs/symptoms.md, from the rules, their pages and symptoms.py.

Run: python docs/checks/index.py
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from torchbce.checks.rules import catalogue, rules_for

HERE = Path(__file__).parent
PAGE = HERE.parent / "checks.md"
SYMPTOMS = HERE.parent / "symptoms.md"
TABLE = re.compile(r"^\| code \| name \|.*?(?=\n\n|\Z)", re.M | re.S)
FINDERS = {"model": "check", "loss": "check_loss", "predictions": "check_predictions", "log": "check_log"}


def row(code: str, name: str) -> str:
    """What a check's page says under a name."""
    found = re.search(rf"^\| {name} \| (.*) \|$", (HERE / f"{code}.md").read_text(), re.M)
    assert found, f"{code}.md has no row {name!r}"
    return found[1]


def table() -> str:
    """A row for each rule; the levels are those of its page."""
    rows = ["| code | name | holds if | level |", "|---|---|---|---|"]
    for code, rule in catalogue().items():
        rows.append(f"| [{code}](checks/{code}.md) | {rule.slug} | {rule.title} | {row(code, 'level')} |")
    return "\n".join(rows)


def symptoms() -> str:
    """The page of symptoms: for each the checks, with the likely cause of their pages and the calls that find it."""
    lines = [
        "# Find a mistake by its symptom",
        "",
        "What you see, and the checks that look for its causes, the likeliest first. Each page has a test and a fix.",
        "Faster than reading: `torchbce.check(model, batch, loss_func)` tries all that concern a model at once, and",
        "`torchbce check FILE` those of predictions or of a log. See [Checks](checks.md).",
        "",
    ]
    for group, seen in runpy.run_path(str(HERE / "symptoms.py"))["SYMPTOMS"].items():
        lines += [f"## {group}", ""]
        for symptom, codes in seen.items():
            lines += [f"### {symptom}", ""]
            for code in codes:
                by = ", ".join(f"`{FINDERS[subject]}`" for subject in FINDERS if code in rules_for(subject))  # type: ignore[arg-type]
                link = f"[{code} {catalogue()[code].slug}](checks/{code}.md)"
                lines.append(f"- {link}: {row(code, 'likely cause').rstrip('.')}. Found by {by}.")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text()).rstrip() + "\n")
    SYMPTOMS.write_text(symptoms())
