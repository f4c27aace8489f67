"""Boosted trees: scikit-learn grows them, here they are tensors, with a compiled walk."""
