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


HEALTHY: list[Program] = []


def healthy(idea: str) -> Callable[[Callable[[], Report]], Callable[[], Report]]:
    """Keep a function without arguments as a program that is right."""

    def keep(run: Callable[[], Report]) -> Callable[[], Report]:
        HEALTHY.append(Program(run.__name__, idea, run))
        return run

    return keep
