"""One loss, one file: its formula for one item, its function, its module."""
