"""`torchbce compare`."""
