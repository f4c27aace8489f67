"""Modules that average their gradients over processes themselves."""

from __future__ import annotations

from torch import nn

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.sharding import is_sharded


def is_data_parallel(module: nn.Module) -> bool:
    """Return whether a module is wrapped in DistributedDataParallel or `fully_shard`.

    Raises:
        InputError: it is sharded in another way.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return True
    if processes.world_size() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    if any(isinstance(submodule, FSDPModule) for submodule in module.modules()):
        return True
    if isinstance(module, FullyShardedDataParallel) or any(map(is_sharded, module.parameters())):
        raise InputError(
            f"the module is spread over processes as {type(module).__name__}; fit knows DistributedDataParallel and "
            "torch.distributed.fsdp.fully_shard, and shares out a plain module's batches itself"
        )
    return False


def unwrap(module: nn.Module) -> nn.Module:
    """Return the user's module, with the names of its parameters, without DistributedDataParallel around it."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    return module
