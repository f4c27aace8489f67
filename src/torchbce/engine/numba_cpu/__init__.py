"""Fused passes over the items on the CPU, compiled by numba and kept as machine code."""
