"""Several small networks and sets of boosted trees trained side by side, each on other rows: the model for a table."""
