"""Every size and option beside the best of torch (see `grid.py`), and both losses beside JAX, Keras and scikit-learn.

The same arrays in one run, everybody in turn; medians. A dash: that peer has no such call. JAX runs under jit, Keras on
torch. "bytes" reads input and target, and writes one tensor where the case has one to write.

Run: python benchmarks/losses.py            (about forty minutes, most of them torch.compile's)
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings

os.environ["KERAS_BACKEND"] = "torch"
warnings.simplefilter("ignore")

import grid
import jax
import keras
import machine
import numpy as np
import optax
import torch
from sklearn.metrics import log_loss

from torchbce.selftest.speed import CASES, CONTESTANTS, SIZES, Case, Inputs, Run, compare, torch_call

SMALL = (10, 100, 1_000)
NAMES = {
    "torchbce": "torchbce",
    "torch": "torch",
    "compile": "torch.compile",
    "jax": "JAX",
    "keras": "Keras",
    "sklearn": "scikit-learn",
    "bytes": "bytes",
}


def compiled(case: Case, inputs: Inputs) -> Run:
    torch._dynamo.reset()
    function = torch.compile(getattr(torch.nn.functional, case.name), dynamic=False)
    return torch_call(function, case, inputs)


def jax_jit(case: Case, inputs: Inputs) -> Run | None:
    if inputs.options.keys() - {"reduction"} or case.dtype not in (torch.float32, torch.bfloat16):
        return None  # no weights there; float64 needs a global switch

    def items(x: jax.Array, y: jax.Array) -> jax.Array:
        if case.loss == "logits":
            return optax.losses.sigmoid_binary_cross_entropy(x, y)
        return -(y * jax.numpy.log(x) + (1 - y) * jax.numpy.log1p(-x))  # optax has none for probabilities

    def loss(x: jax.Array, y: jax.Array) -> jax.Array:
        return items(x, y) if case.reduction == "none" else items(x, y).mean()

    run = jax.jit(jax.value_and_grad(loss) if case.backward else loss)
    dtype = jax.numpy.bfloat16 if case.dtype == torch.bfloat16 else jax.numpy.float32
    x, y = (jax.numpy.asarray(t.float().numpy()).astype(dtype) for t in (inputs.input, inputs.target))
    return lambda: jax.block_until_ready(run(x, y))


def keras_torch(case: Case, inputs: Inputs) -> Run | None:
    if inputs.options.keys() - {"reduction"} or case.dtype != torch.float32 or case.reduction != "mean":
        return None
    loss = keras.losses.BinaryCrossentropy(from_logits=case.loss == "logits")
    return torch_call(lambda x, y, reduction: loss(y, x), case, inputs)


def sklearn(case: Case, inputs: Inputs) -> Run | None:
    if case.loss == "logits" or case.backward or case.targets == "soft" or inputs.options != {"reduction": "mean"}:
        return None
    x, y = inputs.input.numpy().ravel(), inputs.target.numpy().ravel().astype(np.int8)
    return lambda: log_loss(y, x, labels=[0, 1])


def first_call() -> list[list[str]]:
    """Milliseconds of `import torchbce` beyond `import torch`, and of the first call with the machine code on disk."""
    script = (
        "import time, torch; x = torch.rand(10); a = time.perf_counter(); import torchbce; b = time.perf_counter(); "
        "torchbce.functional.binary_cross_entropy(x, x); print(b - a, time.perf_counter() - b)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(7)
    ]
    imports, calls = zip(*([float(word) for word in run.stdout.split()] for run in runs[1:]), strict=True)
    return [
        ["import torchbce, after import torch", f"{np.median(imports) * 1e3:.0f}"],
        ["first call, machine code on disk", f"{np.median(calls) * 1e3:.0f}"],
    ]


def main() -> None:
    contestants = {
        "torchbce": CONTESTANTS["torchbce"],
        "torch": CONTESTANTS["torch"],
        "compile": compiled,
        "jax": jax_jit,
        "keras": keras_torch,
        "sklearn": sklearn,
        "bytes": CONTESTANTS["bytes"],
    }
    text = [
        f"# Losses\n\n{machine.describe('numba', 'jax', 'optax', 'keras', 'scikit-learn')}; `benchmarks/losses.py`\n"
    ]
    rows = []
    for row in grid.rows():
        rows.append(row)
        print(*row, flush=True)
    text += [
        "## torchbce's time / the best of torch and torch.compile\n",
        "In brackets, from a million items on: torchbce's time / moving the bytes alone.\n",
        machine.table(["call", *(f"{n:,}" for n in grid.SIZES)], rows),
        "",
    ]
    with grid.no_node():
        rows = list(grid.rows(SMALL, (torch.float32,), with_compile=False))
    text += [
        "## Small calls where the C++ node has not been compiled: torchbce's time / torch's\n",
        machine.table(["call", *(f"{n:,}" for n in SMALL)], rows),
        "",
    ]
    for n in reversed(SIZES):
        rows = []
        for case in CASES:
            found = compare(case, n, contestants, seconds=1.0)
            cells = [f"{found[name]:,.3g}" if name in found else "-" for name in NAMES]
            rows.append([str(case), *cells, f"{found['torch'] / found['torchbce']:.1f}"])
            print(*rows[-1], flush=True)
        text += [
            f"## {n:,} items, ns per item\n",
            machine.table(["call", *NAMES.values(), "torch / torchbce"], rows),
            "",
        ]
    text += ["## Once per process, ms\n", machine.table(["what", "ms"], first_call())]
    machine.keep("losses", "\n".join(text))


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
