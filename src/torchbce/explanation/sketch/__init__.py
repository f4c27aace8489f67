"""Predictions in one pass and bounded memory, mergeable."""
