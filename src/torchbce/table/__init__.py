"""The trainer of tables: from a file with a yes/no column to a trained, evaluated and explained model."""
