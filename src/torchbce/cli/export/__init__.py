"""`torchbce export`."""
