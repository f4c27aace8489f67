"""The gradient of the mean over uneven shards: `torchrun --nproc-per-node 2 examples/distributed_mean.py`

Process 0 has 7 items and process 1 has 1. DistributedDataParallel averages the gradients, so a mean over each
process's own items makes the single item as heavy as the seven. `global_denominator` counts the items of all.
"""

import json

import torch
import torch.distributed as dist

import torchbce

dist.init_process_group("gloo")
rank = dist.get_rank()

torch.manual_seed(0)
X, Y = torch.randn(8, 3), (torch.arange(8.0) % 2)[:, None]
mine = slice(0, 7) if rank == 0 else slice(7, 8)


def gradient(normalize):
    torch.manual_seed(1)
    net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
    loss_func = torchbce.BCEWithLogitsLoss()
    loss_func(net(X[mine]), Y[mine], normalize=normalize).backward()
    return net.module.weight.grad.flatten().tolist()


own = gradient("numel")
of_all = gradient(torchbce.global_denominator(Y[mine]))

if rank == 0:
    torch.manual_seed(1)
    net = torch.nn.Linear(3, 1)  # one process with all eight items
    torchbce.BCEWithLogitsLoss()(net(X), Y).backward()
    alone = net.weight.grad.flatten().tolist()
    print(json.dumps({"one process": alone, "global_denominator": of_all, "each its own mean": own}))
dist.destroy_process_group()
