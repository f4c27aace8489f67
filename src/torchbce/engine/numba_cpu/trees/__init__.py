"""Sums of decision trees in compiled code, on one thread without Python: `walk` goes down, `machine` makes calls."""
