"""Collects programs that are right: a check that names a mistake in one of them gives a false alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torchbce import Report


@dataclass(frozen=True)
class Program:
    """A program that is right, and what is unusual about it."""

    name: str
    idea: str
    run: Callable[[], Report]
    source: str = ""  # the address of the code that it is modelled on
    seen: str = "2026-11-24"  # the day on which it was collected, before the checks were tried on it


HEALTHY: list[Program] = []


def healthy(
    idea: str, source: str = "", seen: str = "2026-11-24"
) -> Callable[[Callable[[], Report]], Callable[[], Report]]:
    """Keep a function without arguments as a program that is right."""

    def keep(run: Callable[[], Report]) -> Callable[[], Report]:
        HEALTHY.append(Program(run.__name__, idea, run, source, seen))
        return run

    return keep
