"""Measurements on the user's own machine: how exact the losses are, and how fast."""
