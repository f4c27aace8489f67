"""Losses that users write: the lines for one item become a fused, differentiable loss."""
