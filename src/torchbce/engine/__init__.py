"""From a call of a loss to its value and its gradient."""
