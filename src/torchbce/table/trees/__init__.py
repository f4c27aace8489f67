"""Boosted trees, grown by scikit-learn and held as tensors, with a compiled walk."""
