"""Bugs from public threads that were collected on 2026-11-30, when the checks knew nothing of them."""

from . import losses, models, numbers, optimizers, shapes, steps

__all__ = ["losses", "models", "numbers", "optimizers", "shapes", "steps"]
