"""Bugs from public threads that were collected later on 2026-11-30, and kept from those who mended the checks."""

from . import models, numbers, steps

__all__ = ["models", "numbers", "steps"]
