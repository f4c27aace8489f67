"""Checkpoints of unfinished runs on disk, so that a killed run goes on and ends as if nothing had happened."""
