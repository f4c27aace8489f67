"""`torchbce train`."""
