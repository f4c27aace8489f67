"""Several small networks trained side by side, each on other rows: the model for a table."""
