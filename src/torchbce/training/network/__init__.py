"""The network for a table: what it is, how numbers are cut into pieces, and its training in compiled code."""
