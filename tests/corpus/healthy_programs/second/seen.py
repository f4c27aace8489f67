"""Keeps the programs of this package with the day on which they were collected."""

from functools import partial

from corpus.healthy_programs.registry import healthy as _healthy

healthy = partial(_healthy, seen="2026-11-30b")
