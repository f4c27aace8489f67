"""
Exact means in distributed training
===================================

Two processes with uneven shards: one has 7 items, the other 1. Gradients are averaged over processes, so with a
mean over each process's own items the single one is as heavy as the seven. ``global_denominator`` counts the items
of all, and every item of the global batch weighs the same.

The program that each process runs:

.. literalinclude:: ../../examples/distributed_mean.py
   :language: python
   :lines: 7-
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import torchbce

# %%
# torchrun starts the two processes, which talk over gloo on this machine.

program = Path(torchbce.__file__).parents[2] / "examples" / "distributed_mean.py"
command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
assert run.returncode == 0, run.stderr
found = json.loads(run.stdout.splitlines()[-1])
for name, gradient in found.items():
    print(f"{name:<19} {np.round(gradient, 5)}")

# %%
# With the global denominator the gradient is that of one process with all eight items.

assert np.allclose(found["global_denominator"], found["one process"], atol=1e-6)
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for place, (name, gradient) in enumerate(found.items()):
    axes.bar(np.arange(3) + 0.27 * place, gradient, width=0.25, label=name)
axes.axhline(0, color="black", linewidth=0.8)
axes.set_xticks(np.arange(3) + 0.27, ["weight 1", "weight 2", "weight 3"])
axes.set(ylabel="gradient of the mean BCE")
axes.legend()
plt.show()
