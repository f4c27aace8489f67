"""Modules that average their gradients over processes themselves."""

from __future__ import annotations

from torch import nn

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.whole import is_spread


def is_wrapped(module: nn.Module) -> bool:
    """In DistributedDataParallel or `fully_shard`.

    Raises:
        InputError: spread over processes in another way.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return True
    if processes.count() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    if any(isinstance(part, FSDPModule) for part in module.modules()):
        return True
    if isinstance(module, FullyShardedDataParallel) or any(is_spread(parameter) for parameter in module.parameters()):
        raise InputError(
            f"the module is spread over processes as {type(module).__name__}; fit knows DistributedDataParallel and "
            "torch.distributed.fsdp.fully_shard, and shares out a plain module's batches itself"
        )
    return False


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's own, with the names of its parameters."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    return module
