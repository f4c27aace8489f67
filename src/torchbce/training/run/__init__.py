"""A run on disk: its name, its files, its report."""
