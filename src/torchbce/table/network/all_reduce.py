"""All-reduce of gradients over processes, with the same bits for any number of processes.

Where each process has one subtree and their number is a power of two, they exchange in pairs, pairs of pairs and so on,
and each sum is a subtree: log2(processes) messages of one gradient. Else every process gathers all subtrees.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.common import processes
from torchbce.table.network.pairwise_sum import Subtree, share_of, subtree_sum, subtrees


def all_reduce(
    gradients: dict[Subtree, Tensor], losses: Tensor, micro_batches: int, size: int
) -> tuple[Tensor, Tensor]:
    """Return the gradient of all micro-batches, of `size` numbers, and their losses, from this process's share."""
    rank, count = processes.rank(), processes.world_size()
    share = micro_batches // count
    if micro_batches % count or share & (share - 1) or count & (count - 1):
        return _gather(gradients, losses, micro_batches, size)
    first, stop = share_of(micro_batches, rank, count)
    return _in_pairs(gradients[first, stop], losses[first:stop], rank, count)


def _in_pairs(gradient: Tensor, losses: Tensor, rank: int, count: int) -> tuple[Tensor, Tensor]:
    distance = 1
    while distance < count:
        received = processes.send_receive(rank ^ distance, torch.cat([gradient, losses.view(torch.float32)]))
        other, their_losses = received[: len(gradient)], received[len(gradient) :].clone().view(torch.float64)
        if rank & distance:  # this process is the right neighbour
            gradient, losses = other + gradient, torch.cat([their_losses, losses])
        else:
            gradient, losses = gradient + other, torch.cat([losses, their_losses])
        distance *= 2
    return gradient, losses


def _gather(gradients: dict[Subtree, Tensor], losses: Tensor, micro_batches: int, size: int) -> tuple[Tensor, Tensor]:
    """Gather one float32 message of each process, which has its subtrees in order, then the losses."""
    count = processes.world_size()
    shares = [share_of(micro_batches, rank, count) for rank in range(count)]
    subtrees_of = [subtrees(share, micro_batches) for share in shares]
    message = torch.zeros(max(map(len, subtrees_of)) * size + 2 * micro_batches)
    for i, gradient in enumerate(gradients.values()):
        message[i * size : (i + 1) * size] = gradient
    message[-2 * micro_batches :] = losses.view(torch.float32)  # the bits of a float64 are two float32
    messages = processes.all_gather_tensor(message)
    sums = {
        subtree: messages[rank, i * size : (i + 1) * size]
        for rank, of_rank in enumerate(subtrees_of)
        for i, subtree in enumerate(of_rank)
    }
    all_losses = messages[:, -2 * micro_batches :].contiguous().view(torch.float64)
    ordered = torch.cat([all_losses[rank, first:stop] for rank, (first, stop) in enumerate(shares)])
    return subtree_sum(sums, (0, micro_batches), micro_batches), ordered
