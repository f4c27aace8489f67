"""Compute a loss's value and gradient from a call."""
