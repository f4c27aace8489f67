"""Logits of encoded rows by torch, in bfloat16 and by torch.compile if asked for."""

from __future__ import annotations

import contextlib
import threading

import torch
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.table.network.device_rows import RowTensors
from torchbce.table.network.table_network import TableNetwork

COMPILE_LOCK = threading.Lock()  # torch.compile is not made for several threads at once


class TorchForward:
    """Forward pass of rows on the network's device. lock: held while it is used and differentiated."""

    def __init__(self, network: TableNetwork, *, bf16: bool, compile: bool) -> None:
        self.network, self._bf16 = network, bf16
        # One graph for batches of any size: which of several is taken would depend on what came before.
        self._logits = torch.compile(self._compute, fullgraph=True, dynamic=True) if compile else self._compute
        self._works = not compile
        self.lock = COMPILE_LOCK if compile else contextlib.nullcontext()

    def __call__(self, rows: RowTensors, keys: Tensor) -> Tensor:
        """Return logits (N, heads), float32, for training: with dropout, and in bfloat16 if asked for.

        Raises:
            InputError: torch.compile does not work here.
        """
        if not self._bf16:
            return self._call(rows, keys)
        with torch.autocast(self.network.start.device.type, torch.bfloat16, cache_enabled=False):
            return self._call(rows, keys).float()

    def outputs(self, rows: RowTensors) -> Tensor:
        """Return logits (N, heads), float32, as the finished network computes them."""
        with torch.no_grad():
            return self._call(rows, None)

    def _call(self, rows: RowTensors, keys: Tensor | None) -> Tensor:
        inputs = rows.bins, rows.fractions, rows.numbers, rows.codes, keys
        if self._works:
            return self._logits(*inputs)
        try:
            logits = self._logits(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # all of torch.compile's own are
            raise InputError(
                f"--compile: torch.compile does not work here: {_reason(error)}; on the CPU it needs a C++ compiler "
                "(g++, or what CXX names), on a GPU Triton; install what is missing, or leave --compile out"
            ) from error
        self._works = True
        return logits

    def _compute(self, bins: Tensor, fractions: Tensor, numbers: Tensor, codes: Tensor, keys: Tensor | None) -> Tensor:
        net, bins = self.network, bins.long()
        every_bin = torch.arange(net.start.shape[1], device=bins.device)
        index, fraction = bins.unsqueeze(2), fractions.unsqueeze(2)
        passed = torch.where(every_bin < index, 1.0, torch.where(every_bin == index, fraction, 0.0))
        columns = torch.arange(len(net.start), device=bins.device)
        within = net.start[columns, bins] + fractions * net.length[columns, bins]
        return net.logits(passed, within, numbers, codes.long(), keys)


def _reason(error: RuntimeError) -> str:
    """Return the line with the reason."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
