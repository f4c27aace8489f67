"""Rules: functions that look for one mistake each, registered with a code, a name and what they explain."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torchbce.checks.findings import Finding

Look = Callable[..., Finding]
Subject = Literal["model", "loss", "predictions", "log"]
PAGES = "docs/checks"


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
        """Its page, in the repository's docs."""
        return f"{PAGES}/{self.code}.md"


_rules: dict[str, Rule] = {}
_looks: dict[Subject, dict[str, Look]] = {"model": {}, "loss": {}, "predictions": {}, "log": {}}


def rule(code: str, slug: str, title: str, *, on: Subject, explains: tuple[str, ...] = ()) -> Callable[[Look], Look]:
    """Declare a rule and its function, which takes what `on` names: a `Trial`, a `Fingerprint`, an `Explanation` or a
    `Log`.
    """
    _rules[code] = Rule(code, slug, title, explains)
    return finds(code, on=on)


def finds(code: str, *, on: Subject) -> Callable[[Look], Look]:
    """A function that finds the same mistake elsewhere. Its findings get the code."""

    def registered(look: Look) -> Look:
        @functools.wraps(look)
        def coded(*given: Any) -> Finding:
            return dataclasses.replace(look(*given), code=code)

        if code in _looks[on]:
            raise ValueError(f"two functions look for {code} in a {on}")
        _looks[on][code] = coded
        return coded

    return registered


@functools.cache
def catalogue() -> dict[str, Rule]:
    """All rules by code."""
    _load()
    return dict(sorted(_rules.items()))


@functools.cache
def looks(on: Subject) -> dict[str, Look]:
    """The functions that look at a model, a loss, predictions or a log, by code."""
    _load()
    return dict(sorted(_looks[on].items()))


@functools.cache
def _load() -> None:
    from torchbce.checks import rules

    for module in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"{rules.__name__}.{module.name}")
