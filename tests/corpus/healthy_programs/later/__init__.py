"""Healthy programs that were collected on 2026-11-30, when the checks knew nothing of them."""

from . import adversarial, loops, losses, maps, pairs, sequences, tables

__all__ = ["adversarial", "loops", "losses", "maps", "pairs", "sequences", "tables"]
