"""The report of many findings: sections, JSON, SARIF, an exception for tests."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from torchbce.checks.catalogue.finding import Finding, Level, skipped
from torchbce.checks.rules import catalogue
from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks
from torchbce.common.visible import MESSAGE, shown


class CheckFailed(AssertionError):
    """Raised by `Report.raise_on_failure`."""


SECTIONS = {
    "Issues": (Level.FAIL, Level.WARN),
    "Tips": (Level.TIP,),
    "Passed": (Level.PASS,),
    "Not applicable": (Level.NOT_APPLICABLE,),
    "Skipped": (Level.SKIPPED,),
}


# A cause silences consequences up to its own level: what is impossible is never explained by what is likely.
SILENCED = {Level.FAIL: (Level.FAIL, Level.WARN, Level.TIP), Level.WARN: (Level.WARN, Level.TIP)}


@dataclass(frozen=True)
class Report(PrintedInNotebooks):
    """The findings of several checks, by code; `print` it.

    Example:
        >>> from torchbce.checks.check_predictions import check_predictions
        >>> report = check_predictions([0.2, 0.8, 0.7], [0, 255, 255], from_logits=False)
        >>> report.ok, [finding.code for finding in report.issues]
        (False, ['BCE001'])
    """

    findings: tuple[Finding, ...]
    about: str = ""

    @property
    def issues(self) -> tuple[Finding, ...]:
        """Return what failed or is suspicious, the failures first."""
        return self._of(Level.FAIL) + self._of(Level.WARN)

    @property
    def ok(self) -> bool:
        """Return whether nothing failed; warnings and tips may be there."""
        return not self._of(Level.FAIL)

    def __getitem__(self, code: str) -> Finding:
        for finding in self.findings:
            if finding.code == code:
                return finding
        raise KeyError(code)

    def raise_on_failure(self, *, warnings: bool = False) -> None:
        """Raise `CheckFailed` in tests, with the text of what failed (or, with `warnings`, of all issues)."""
        failed = self.issues if warnings else self._of(Level.FAIL)
        if failed:
            raise CheckFailed("\n".join(map(str, failed)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything, for JSON; numbers that are not finite are None."""
        return {
            "about": self.about,
            "ok": self.ok,
            "findings": [_numbers(finding) for finding in self.findings],
        }

    def to_json(self) -> str:
        """Return the JSON as text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_sarif(self) -> str:
        """Return SARIF 2.1.0, which code hosts show beside the code; issues and tips only."""
        listed = self.issues + self._of(Level.TIP)
        levels = {Level.FAIL: "error", Level.WARN: "warning", Level.TIP: "note"}
        rules = [
            {"id": f.code, "name": f.rule.slug, "shortDescription": {"text": f.rule.title}, "helpUri": f.rule.page}
            for f in listed
        ]
        results = [
            {"ruleId": f.code, "level": levels[f.level], "message": {"text": f"{f.message}\n{f.fix}".strip()}}
            for f in listed
        ]
        driver = {"name": "torchbce", "informationUri": "https://pypi.org/project/torchbce/", "rules": rules}
        log = {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": results}],
        }
        return json.dumps(log, indent=1)

    def __str__(self) -> str:
        lines = [shown(self.about, MESSAGE)] if self.about else []
        for section, levels in SECTIONS.items():
            listed = [finding for level in levels for finding in self._of(level)]
            if not listed:
                continue
            if section in ("Issues", "Tips"):
                lines += [section, *(f"  {line}" for finding in listed for line in str(finding).splitlines())]
            elif section == "Passed":
                lines.append(f"{section}: " + ", ".join(f"{f.code} {f.rule.slug}" for f in listed))
            else:
                why = (f"{f.code} {f.rule.slug} ({shown(f.message, MESSAGE)})" for f in listed)
                lines.append(f"{section}: " + ", ".join(why))
        return "\n".join(lines)

    def _of(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is level)


def _numbers(finding: Finding) -> dict[str, Any]:
    """Return a finding for JSON."""
    numbers = {name: getattr(finding, name) for name in ("code", "level", "message", "fix", "evidence")}
    return plain(numbers) | {"title": finding.rule.title}  # type: ignore[no-any-return]


def report(findings: Iterable[Finding], *, ignore: Collection[str] = (), about: str = "") -> Report:
    """Report findings by code; those ignored are left out, and consequences of a cause are skipped.

    Raises:
        ValueError: a code in `ignore` does not exist.
    """
    rules = catalogue()
    unknown = sorted(set(ignore) - rules.keys())
    if unknown:
        raise ValueError(f"there is no check {', '.join(unknown)}; the codes are {', '.join(rules)}")
    chosen = sorted((f for f in findings if f.code not in ignore), key=lambda f: f.code)
    by_cause = [(cause, code) for cause in chosen for code in cause.rule.explains]
    explained = {(code, level): cause.code for cause, code in by_cause for level in SILENCED.get(cause.level, ())}
    shown = [
        f.rule.finding(skipped(f"explained by {explained[f.code, f.level]}")) if (f.code, f.level) in explained else f
        for f in chosen
    ]
    return Report(tuple(shown), about)
