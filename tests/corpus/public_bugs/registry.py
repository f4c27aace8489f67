"""Programs from public threads: each with a known mistake, and the same program mended as the thread says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torchbce.checks.report import Report


@dataclass(frozen=True)
class Program:
    """A small program that ends with one check."""

    name: str  # the function's name
    source: str  # the address of the thread
    mistake: str  # one plain sentence; for a mended program, what was mended
    codes: tuple[str, ...]  # the codes that would be a right answer (any of them); () if healthy
    run: Callable[[], Report]
    seen: str = "2026-11-24"  # the day on which the program was collected, before the checks were tried on it
    claimed: bool = True  # whether one of the codes claimed to find such a mistake on that day


BUGS: list[Program] = []
MENDED: list[Program] = []

Register = Callable[[Callable[[], Report]], Callable[[], Report]]


def bug(source: str, mistake: str, codes: tuple[str, ...]) -> Register:
    """Register a function that runs the program as the author of the thread had it."""

    def register(run: Callable[[], Report]) -> Callable[[], Report]:
        BUGS.append(Program(run.__name__, source, mistake, codes, run))
        return run

    return register


def mended(source: str, what: str) -> Register:
    """Register a function that runs the healthy program: no FAIL and no WARN is right."""

    def register(run: Callable[[], Report]) -> Callable[[], Report]:
        MENDED.append(Program(run.__name__, source, what, (), run))
        return run

    return register


def thread(
    source: str, mistake: str, mend: str, codes: tuple[str, ...], *, seen: str, claimed: bool = True
) -> Callable[[Callable[[bool], Report]], Callable[[bool], Report]]:
    """Register a function of whether the mistake is made, as the bug and as the program mended."""

    def register(run: Callable[[bool], Report]) -> Callable[[bool], Report]:
        BUGS.append(Program(run.__name__, source, mistake, codes, partial(run, True), seen, claimed))
        if mend:
            MENDED.append(Program(run.__name__ + "_mended", source, mend, (), partial(run, False), seen))
        return run

    return register
