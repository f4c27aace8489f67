"""Keeps the programs of this package with the day on which they were collected.

BCE036 to BCE042 are newer: they were added to the codes that are right, and `claimed` is what it was on that day.
"""

from functools import partial

from corpus.public_bugs.registry import thread as _thread

thread = partial(_thread, seen="2026-11-30b")
unclaimed = partial(thread, claimed=False)  # no code claimed to find such a mistake on that day
