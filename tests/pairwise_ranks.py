"""Losses from features for test_pairwise.py: alone, or as `pairwise_ranks.py FILE` under torchrun.

Each result is a loss and the gradients of a model, of one process or averaged over several: they must be alike.
"""

from __future__ import annotations

import sys

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

import torchbce
from leaving import leave_group
from torchbce.engine import select

ROWS, LABELS = 29, 17


class Towers(nn.Module):
    """Two encoders and the loss of all their pairs."""

    def __init__(self, group, module=False):
        super().__init__()
        self.one, self.other = (nn.Linear(6, 4).double() for _ in range(2))
        self.scale, self.bias = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (2.0, -3.0))
        self.group = group
        world = 1 if group is None else distributed.get_world_size(group)
        self.loss = torchbce.SigLipLoss(rank=rank(), world_size=world) if module else None

    def forward(self, a, b, positives="diagonal"):
        x, y = normalize(self.one(a), dim=1), normalize(self.other(b), dim=1)
        if self.loss is not None:
            return self.loss(x, y, self.scale.exp(), self.bias)
        return torchbce.pairwise_sigmoid_loss(x, y, self.scale.exp(), self.bias, positives=positives, group=self.group)


class Labels(nn.Module):
    """An encoder and its labels."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 4).double()
        self.head = torchbce.LinearBCELoss(4, LABELS).double()

    def forward(self, a, target, normalize):
        return self.head(self.encoder(a).tanh(), target, normalize=normalize)


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def world():
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share():
    """This process's rows, of uneven shares."""
    ends = [0, *(ROWS * (i + 1) ** 2 // world() ** 2 for i in range(world()))]
    return slice(ends[rank()], ends[rank() + 1])


def data():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(ROWS, 6, generator=g, dtype=torch.float64) for _ in range(2))
    return a, b, torch.randint(0, LABELS, (ROWS, 3), generator=g)


def found(loss, model):
    """The mean of the processes' losses, and of their gradients where the model has not averaged them."""
    loss.backward()
    value = loss.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value /= world()
    gradients = []
    for parameter in model.parameters():
        gradient = parameter.grad
        if hasattr(gradient, "full_tensor"):
            gradient = gradient.full_tensor()
        elif distributed.is_initialized() and not isinstance(model, DistributedDataParallel):
            distributed.all_reduce(gradient)
            gradient /= world()
        gradients.append(gradient)
    return [value, *gradients]


def wrapped(model, how):
    if not distributed.is_initialized() or how == "plain":
        return model
    if how == "ddp":
        return DistributedDataParallel(model)
    fully_shard(model)
    return model


def half(group, a, b):
    """Gradients of float16 features that only a scaled loss keeps."""
    x, y = (normalize(t[:, :4].float(), dim=1).half().requires_grad_() for t in (a, b))
    none = torch.empty(0, dtype=torch.int64)
    loss = torchbce.pairwise_sigmoid_loss(x, y, 1.0, -12.0, positives=(none, none), group=group)
    (loss.float() * 1024).backward()
    total = torch.stack([x.grad.double().abs().sum(), y.grad.double().abs().sum()])
    if distributed.is_initialized():
        distributed.all_reduce(total)
    return [total / world()]


def results():
    group = distributed.group.WORLD if distributed.is_initialized() else None
    a, b, numbers = data()
    here, made = share(), {}
    for how in ("plain", "ddp", "fsdp"):
        torch.manual_seed(0)
        model = wrapped(Towers(group), how)
        made[f"pairs, {how}"] = found(model(a[here], b[here]), model)
        torch.manual_seed(0)
        model = wrapped(Labels(), how)
        denominator = torchbce.global_denominator(torch.zeros(here.stop - here.start, LABELS))
        made[f"labels, {how}"] = found(model(a[here], numbers[here], denominator), model)
    torch.manual_seed(0)
    model = Towers(group)
    rows = torch.arange(here.stop - here.start)
    pairs = torch.cat([rows, rows]), torch.cat([(rows + here.start) * 3 % ROWS, (rows + here.start) * 5 % ROWS])
    made["pairs across processes"] = found(model(a[here], b[here], list(pairs)), model)
    torch.manual_seed(0)
    model = Towers(group, module=True)
    made["module"] = found(model(a[here], b[here]), model)
    made["float16, scaled"] = half(group, a[here], b[here])
    with torch.no_grad():
        part = model(a[here], b[here])
        if distributed.is_initialized():
            distributed.all_reduce(part)
        made["no gradients"] = [part / world()]
    return made


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    with select.forced("reference"):
        kept = results()
        kept["outside"] = ""
        try:
            x = torch.eye(4)
            # Wrong in one process alone: all of them say so, and none waits.
            pair = (torch.tensor([0]), torch.tensor([4 * world() if rank() == 1 else 0]))
            torchbce.pairwise_sigmoid_loss(x, x, 1.0, positives=pair, group=distributed.group.WORLD)
        except ValueError as error:
            kept["outside"] = str(error)
    torch.save(kept, f"{sys.argv[1]}-{rank()}")
    leave_group()
