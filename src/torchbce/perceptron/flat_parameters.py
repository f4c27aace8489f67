"""Hold all parameters of a module in one tensor, as compiled code reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def flattened(module: nn.Module) -> Tensor:
    """Return all parameters of a module in one tensor, of which they become views."""
    parameters = list(module.parameters())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    offset = 0
    for parameter in parameters:
        parameter.data = flat[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
    return flat
