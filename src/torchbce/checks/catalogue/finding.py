"""What a check says: the outcome of a rule's function, and the finding that names the rule."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, field
from typing import Any

from torchbce.common.visible import MESSAGE, shown, visible

PAGES = "docs/checks"


class Level(enum.StrEnum):
    """FAIL: impossible in working code. WARN: p < 0.001 and large. TIP: legitimate, but it costs."""

    FAIL = "fail"
    WARN = "warn"
    TIP = "tip"
    PASS = "pass"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What the function of a rule returns; see :class:`Finding`."""

    level: Level
    message: str
    fix: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One entry of the catalogue.

    Attributes:
        title: what holds where the rule finds nothing.
        explains: codes whose findings are consequences of this one.
    """

    code: str
    slug: str
    title: str
    explains: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Return the path of its page in the repository's docs."""
        return f"{PAGES}/{self.code}.md"

    def finding(self, outcome: Outcome) -> Finding:
        """Return the finding of this rule."""
        return Finding(self, outcome.level, outcome.message, outcome.fix, outcome.evidence)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    rule: what is checked, and where it is explained.
    message: what was found, with the numbers.
    fix: what to write instead, as code where that is possible.
    evidence: the numbers by name.
    """

    rule: Rule
    level: Level
    message: str
    fix: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """Return the rule's code, such as "BCE001"."""
        return self.rule.code

    def __str__(self) -> str:
        text = f"{self.level.upper():<5} {self.code} {self.rule.slug}: {shown(self.message, MESSAGE)}"
        return text + "".join(f"\n      {line}" for line in visible(self.fix, "\n").splitlines())


def outcome(level: Level, message: str, fix: str = "", evidence: dict[str, Any] | None = None) -> Outcome:
    """Return an outcome of this level."""
    return Outcome(level, message, fix, evidence or {})


fail = functools.partial(outcome, Level.FAIL)
warn = functools.partial(outcome, Level.WARN)
tip = functools.partial(outcome, Level.TIP)


def passed(message: str = "") -> Outcome:
    """Return that nothing was found."""
    return outcome(Level.PASS, message)


def not_applicable(reason: str) -> Outcome:
    """Return that the check has no meaning here."""
    return outcome(Level.NOT_APPLICABLE, reason)


def skipped(reason: str) -> Outcome:
    """Return that the check was not run, or that another finding explains it."""
    return outcome(Level.SKIPPED, reason)
