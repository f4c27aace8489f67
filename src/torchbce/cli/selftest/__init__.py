"""`torchbce selftest`, `bench`, `build` and `warmup`."""
