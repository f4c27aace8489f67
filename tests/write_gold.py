"""Writes src/torchbce/selftest/gold.csv, what `torchbce selftest` compares with: python tests/write_gold.py"""

from __future__ import annotations

import csv
import io
from itertools import product
from pathlib import Path

import torch
from mpmath import mp, mpf, nstr

import gold
import torchbce.selftest

FILE = Path(torchbce.selftest.__file__).parent / "gold.csv"
LOSSES = {"binary_cross_entropy": gold.bce, "binary_cross_entropy_with_logits": gold.bce_with_logits}
SLOPES = {"binary_cross_entropy": gold.bce_dx, "binary_cross_entropy_with_logits": gold.bce_with_logits_dx}
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def table() -> str:
    """Hard targets, for which no slope cancels, at every input, as they are in each dtype."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(["loss", "dtype", "input", "target", "value", "slope"])
    mp.dps = 60
    for loss, dtype in product(LOSSES, DTYPES):
        inputs = gold.PROBABILITIES if loss == "binary_cross_entropy" else gold.LOGITS
        seen = set()
        for x, y in product(inputs, (0.0, 1.0)):
            pair = tuple(torch.tensor([x, y], dtype=getattr(torch, dtype)).tolist())
            if pair in seen or abs(pair[0]) == float("inf"):
                continue
            seen.add(pair)
            exact = LOSSES[loss](*pair), SLOPES[loss](*pair)
            digits = (nstr(v, 40) if abs(v) > mpf("1e-400") else "0" for v in exact)  # below what any dtype can hold
            write([loss, dtype, *(v.hex() for v in pair), *digits])
    return out.getvalue()


if __name__ == "__main__":
    FILE.write_text(table())
