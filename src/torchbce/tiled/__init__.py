"""Losses from features: the logits, a product of two matrices, are made tile by tile and never stored."""
