"""`torchbce predict`."""
