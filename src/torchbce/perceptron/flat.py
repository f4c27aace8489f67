"""All parameters of a module in one tensor, as compiled code has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def flattened(module: nn.Module) -> Tensor:
    """All parameters of a module, which become views of this one."""
    parameters = list(module.parameters())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    place = 0
    for parameter in parameters:
        parameter.data = flat[place : place + parameter.numel()].view_as(parameter)
        place += parameter.numel()
    return flat
