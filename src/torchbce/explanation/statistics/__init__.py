"""Statistics of a sketch."""
