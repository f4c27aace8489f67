"""Decorators by which a function becomes a rule; `checks.rules` reads the tables that they fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from torchbce.checks.catalogue.finding import Finding, Outcome, Rule

Target = Literal["model", "loss", "predictions", "log"]

RULES: dict[str, Rule] = {}
CHECKS: dict[Target, dict[str, Callable[[Any], Finding]]] = {"model": {}, "loss": {}, "predictions": {}, "log": {}}

Check = TypeVar("Check", bound=Callable[..., Outcome])


def rule(
    code: str, slug: str, title: str, *, target: Target, explains: tuple[str, ...] = ()
) -> Callable[[Check], Check]:
    """Declare a rule and its function.

    The function takes what `target` names: a `Trial`, a `Fingerprint`, an `Explanation` or a `Log`.
    """
    RULES[code] = Rule(code, slug, title, explains)
    return also_checks(code, target=target)


def also_checks(code: str, *, target: Target) -> Callable[[Check], Check]:
    """Declare a function that finds the mistake of a rule in another target; the rule may be declared after it."""

    def register(check: Check) -> Check:
        def named(given: Any) -> Finding:
            return RULES[code].finding(check(given))

        if code in CHECKS[target]:
            raise ValueError(f"two functions look for {code} in a {target}")
        CHECKS[target][code] = named
        return check

    return register
