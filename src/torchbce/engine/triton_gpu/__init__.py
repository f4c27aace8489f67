"""Fused passes over the items on a GPU, compiled by Triton."""
