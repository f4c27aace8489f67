"""`torchbce explain`."""
