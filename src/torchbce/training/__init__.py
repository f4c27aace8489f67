"""From a table, or the user's own module and data, to a trained model with a true loss."""
