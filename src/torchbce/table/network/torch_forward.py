"""A network's logits of encoded rows by torch."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.table.network.device_rows import Parts
from torchbce.table.network.table_network import TableNetwork


class TorchForward:
    """Called with rows on the network's device."""

    def __init__(self, network: TableNetwork) -> None:
        self.network = network

    def __call__(self, rows: Parts, keys: Tensor | None) -> Tensor:
        """Return the logits (N, heads), float32, with dropout by its keys."""
        net, bins = self.network, rows.bins.long()
        pieces = torch.arange(net.start.shape[1], device=bins.device)
        here, fraction = bins.unsqueeze(2), rows.fractions.unsqueeze(2)
        passed = torch.where(pieces < here, 1.0, torch.where(pieces == here, fraction, 0.0))
        columns = torch.arange(len(net.start), device=bins.device)
        within = net.start[columns, bins] + rows.fractions * net.length[columns, bins]
        return net.logits(passed, within, rows.numbers, rows.codes.long(), keys)

    def outputs(self, rows: Parts) -> Tensor:
        """Return the logits (N, heads), float32, as the finished network gives them."""
        with torch.no_grad():
            return self(rows, None)
