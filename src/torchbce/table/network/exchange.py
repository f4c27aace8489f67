"""What processes tell each other in a step: branches of a gradient, and the losses of lanes.

Where each process has one branch and they are a power of two, they tell each other in pairs, pairs of pairs and so on,
and each sum is a branch of the tree: log2(processes) messages of one gradient. Else everyone tells everyone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.common import processes
from torchbce.table.network.tree import Branch, branches, part_of, total


def exchanged(gradients: dict[Branch, Tensor], losses: Tensor, lanes: int, size: int) -> tuple[Tensor, Tensor]:
    """The gradient of all lanes, of `size` numbers, and their losses, from this process's branches and its losses.

    The same bits in all processes, and for any number of them.
    """
    number, count = processes.number(), processes.count()
    share = lanes // count
    if lanes % count or share & (share - 1) or count & (count - 1):
        return _by_all(gradients, losses, lanes, size)
    first, stop = part_of(lanes, number, count)
    return _in_pairs(gradients[first, stop], losses[first:stop], number, count)


def _in_pairs(gradient: Tensor, losses: Tensor, number: int, count: int) -> tuple[Tensor, Tensor]:
    distance = 1
    while distance < count:
        told = processes.exchanged_with(number ^ distance, torch.cat([gradient, losses.view(torch.float32)]))
        other, their_losses = told[: len(gradient)], told[len(gradient) :].clone().view(torch.float64)
        if number & distance:  # who is on the right
            gradient, losses = other + gradient, torch.cat([their_losses, losses])
        else:
            gradient, losses = gradient + other, torch.cat([losses, their_losses])
        distance *= 2
    return gradient, losses


def _by_all(gradients: dict[Branch, Tensor], losses: Tensor, lanes: int, size: int) -> tuple[Tensor, Tensor]:
    """In one message of float32 words: all know who has which branches."""
    count = processes.count()
    parts = [part_of(lanes, number, count) for number in range(count)]
    held = [branches(part, lanes) for part in parts]
    message = torch.zeros(max(map(len, held)) * size + 2 * lanes)
    for place, gradient in enumerate(gradients.values()):
        message[place * size : (place + 1) * size] = gradient
    message[-2 * lanes :] = losses.view(torch.float32)  # the bits of a float64 are two words
    everything = processes.all_of(message)
    found = {
        branch: everything[number, place * size : (place + 1) * size]
        for number, some in enumerate(held)
        for place, branch in enumerate(some)
    }
    told = everything[:, -2 * lanes :].contiguous().view(torch.float64)
    whole = torch.cat([told[number, first:stop] for number, (first, stop) in enumerate(parts)])
    return total(found, (0, lanes), lanes), whole
