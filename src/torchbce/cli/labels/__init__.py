"""`torchbce labels`."""
