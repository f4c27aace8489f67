"""Boosted trees beside the networks: scikit-learn grows them, here they are tensors."""
