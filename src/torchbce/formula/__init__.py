"""The language of formulas: their operations, derivatives, and binding to an engine."""
