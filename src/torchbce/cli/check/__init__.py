"""`torchbce check`."""
