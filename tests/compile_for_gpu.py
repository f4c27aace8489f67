"""Compiles the GPU kernels to machine code for an H100, which needs no GPU; run by test_engines."""

from __future__ import annotations

import warnings
from itertools import product

import torch

warnings.simplefilter("ignore")
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from torchbce.formulas import BCE, BCE_WITH_LOGITS
from torchbce.kernels.gpu import passes
from torchbce.kernels.gpu.vocabulary import Bound

TARGET = GPUTarget("cuda", 90, 32)


def compile_kernel(kernel, pointers, constants):
    signature = {name: pointers.get(name, "constexpr" if name in constants else "i64") for name in kernel.arg_names}
    where = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    assert triton.compile(ASTSource(kernel, signature, where), target=TARGET).asm["cubin"]


def main() -> None:
    count = 0
    kinds = product((BCE, BCE_WITH_LOGITS), ("fp32", "bf16", "fp64"), ("total", "total and slopes", "items", "slopes"))
    for (loss, dtype, what), weighted in product(kinds, (False, True)):
        wide = dtype == "fp64"
        bound = Bound(loss, torch.float64 if wide else torch.float32)
        pointers = dict.fromkeys(("X", "Y", "OUT"), f"*{dtype}") | {"SUMS": "*fp64", "WRONGS": "*i32"}
        constants = {
            "value": bound.value,
            "slope": bound.dx,
            "defined": bound.defined,
            "takes_pos_weight": loss.has_pos_weight,
            "what": what,
            "number": tl.float64 if wide else tl.float32,
            "BLOCK": 1024,
        }
        if weighted:
            pointers |= dict.fromkeys(("W", "P", "G"), f"*{dtype}")
        else:
            constants |= {"W": None, "P": None, "G": None}
        compile_kernel(passes.item_pass, pointers, constants)
        count += 1
    for dtype in ("fp32", "bf16"):
        sums = {"SUMS": "*fp64", "WRONGS": "*i32", "RESULT": f"*{dtype}", "WRONG": "*i32"}
        compile_kernel(passes.add_up, sums, {"BLOCK": 1024})
        compile_kernel(passes.multiply, {"SLOPES": f"*{dtype}", "FACTOR": f"*{dtype}"}, {"BLOCK": 1024})
        count += 2
    print(count, "kernels")


if __name__ == "__main__":
    main()
