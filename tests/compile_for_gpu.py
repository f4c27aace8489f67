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

from torchbce.engine.triton_gpu import passes
from torchbce.engine.triton_gpu.primitives import Bound
from torchbce.losses.bce import BCE
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS

TARGET = GPUTarget("cuda", 90, 32)


def compile_kernel(kernel, arguments, constants):
    """Arguments are the types of values; those named in neither are 64-bit integers."""
    signature = {name: arguments.get(name, "constexpr" if name in constants else "i64") for name in kernel.arg_names}
    where = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    assert triton.compile(ASTSource(kernel, signature, where), target=TARGET).asm["cubin"]


def main() -> None:
    count = 0
    run = ("i64", "i64")
    kinds = product(
        (BCE, BCE_WITH_LOGITS), ("fp32", "bf16", "fp64"), ("total and gradient", "items", "gradient", "count")
    )
    for (loss, dtype, what), options in product(kinds, ("none", "weights", "labels", "classes")):
        wide = dtype == "fp64"
        bound = Bound(loss, torch.float64 if wide else torch.float32)
        arguments = dict.fromkeys(("X", "Y", "OUT"), f"*{dtype}") | dict.fromkeys(
            ("SUMS", "DIVISOR", "TARGET_OPTIONS"), "*fp64"
        )
        arguments |= dict.fromkeys(("w_run", "g_run", "mask_run", "classes"), run)
        arguments |= {"WRONGS": "*i32", "parameters": ("*fp64",), "parameter_runs": (run,)}
        constants = {
            "value": bound.value,
            "derivative": bound.dx,
            "defined": bound.defined,
            "what": what,
            "number": tl.float64 if wide else tl.float32,
            "ignoring": options in ("labels", "classes"),
            "transformed": options == "labels",
            "by_class": options == "classes",
            "by_count": options == "none",
            "BLOCKS": 8 if options == "none" else 1,
            "unless_one": what == "gradient" and options == "weights",
            "BLOCK": 1024,
        }
        if options == "weights":
            arguments |= dict.fromkeys(("W", "G"), f"*{dtype}") | {"MASK": "*u8"}
        else:
            constants |= {"W": None, "G": None, "MASK": None}
        if options == "none":  # one program does all
            arguments["RESULT"] = f"*{dtype}"
            constants |= {"SUMS": None, "DIVISOR": None}
        else:
            constants["RESULT"] = None
        if options == "classes":
            arguments["Y"] = "*i64"
        compile_kernel(passes.item_pass, arguments, constants)
        count += 1
    for dtype in ("fp32", "bf16"):
        sums = {"SUMS": "*fp64", "WRONGS": "*i32", "RESULT": f"*{dtype}", "WRONG": "*i32", "DIVISOR": "*fp64"}
        compile_kernel(passes.add_up, sums, {"by_count": False, "BLOCK": 1024})
        compile_kernel(
            passes.multiply, {"GRAD_INPUT": f"*{dtype}", "FACTOR": f"*{dtype}"}, {"BLOCKS": 8, "BLOCK": 1024}
        )
        count += 2
    print(count, "kernels")


if __name__ == "__main__":
    main()
