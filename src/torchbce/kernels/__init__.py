"""The formulas as fused passes: `cpu` compiled by numba, `gpu` by Triton, and the choice between them."""
