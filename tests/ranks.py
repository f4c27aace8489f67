"""Trainings for test_fit_distributed.py: alone, or as `ranks.py FILE NAME...` under torchrun, with results in FILE."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, TensorDataset

import torchbce
from leaving import leave_group
from torchbce import fit
from torchbce.common.lock import locked
from torchbce.engine import select

ROWS, BATCH, EPOCHS = 53, 10, 3


class Killed(Exception):
    pass


class Items(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "target": self.y[i]}


class Seen(nn.Module):
    """Remembers the first column of what it is trained on."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1).double()
        self.rows = []

    def forward(self, x):
        if self.training:
            self.rows += x[:, 0].tolist()
        return self.layer(x)


class Partly(nn.Module):
    """With parameters that never, or in some processes only, get a gradient."""

    def __init__(self):
        super().__init__()
        self.always, self.never, self.some = (nn.Linear(4, 1).double() for _ in range(3))

    def forward(self, x):
        out, large = self.always(x), x[:, 0] > 1.5
        return out.index_add(0, large.nonzero().flatten(), self.some(x[large])) if bool(large.any()) else out


class Uneven(IterableDataset):
    """Each process's own batches, of different number and size."""

    def __init__(self, x, y, rank, count):
        sizes = [[7, 7, 7, 7], [5, 20]] if count > 1 else [[12, 27, 7, 7]]
        places = [[0, 12, 39, 46], [7, 19]] if count > 1 else [[0, 12, 39, 46]]
        self.batches = [(x[p : p + s], y[p : p + s]) for p, s in zip(places[rank], sizes[rank], strict=True)]

    def __iter__(self):
        return iter(self.batches)


def data(rows=ROWS, dtype=torch.float64):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=drawn).to(dtype)
    x[:, 0] = torch.linspace(-2, 2, rows).to(dtype)
    return x, (x[:, :1] + torch.randn(rows, 1, generator=drawn) > 0).to(dtype)


def network(dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.SiLU(), nn.Linear(6, 1)).to(dtype)


def trained(module=None, given=None, loss_func=None, *, wrap=None, valid=None, make=torch.optim.AdamW, **options):
    """What a run comes to, in plain tensors."""
    inner = network() if module is None else module
    given = data() if given is None else given
    module = wrap(inner) if wrap else inner
    optimizer = make(module.parameters(), lr=0.05)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 3, "on_epoch": None, **options}
    history = fit(module, given, loss_func, optimizer=optimizer, valid=data(21) if valid is None else valid, **options)
    return {
        "history": [(e.running, e.train, e.valid, e.baseline) for e in history],
        "weights": [full(p) for p in inner.parameters()],
        "state": {
            name: [full(optimizer.state[p][name]) for p in module.parameters() if name in optimizer.state[p]]
            for name in ("exp_avg", "step")
        },
        "resumed": history.resumed_at,
        "skipped": history.skipped,
    }


def full(tensor):
    tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return tensor.detach().clone()


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def count():
    return distributed.get_world_size() if distributed.is_initialized() else 1


def in_ddp(module):
    return nn.parallel.DistributedDataParallel(module) if count() > 1 else module


def in_fsdp(module):
    if count() == 1:
        return module
    from torch.distributed.fsdp import fully_shard

    for layer in module:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(module)


def rows_seen():
    module = Seen()
    module.layer.load_state_dict(nn.Linear(4, 1).double().state_dict())
    trained(module, evaluate_train=False, epochs=2)
    return module.rows


def refused(**options):
    try:
        trained(**options)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def warned(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run()
    return result, [str(warning.message) for warning in caught]


def strange(where):
    x, y = data()
    x[where, 2] = torch.nan
    return x, y


def with_sampler(**options):
    x, y = data()
    dataset = TensorDataset(x, y)
    sampler = DistributedSampler(dataset, count(), rank(), seed=5) if count() > 1 else None
    return trained(given=DataLoader(dataset, batch_size=BATCH // 2, sampler=sampler), evaluate_train=True, **options)


def killed_in(place, folder, **options):
    seen = 0

    def kill(done, steps):
        nonlocal seen
        seen += 1
        if seen == place:
            raise Killed

    try:
        trained(on_step=kill, checkpoint=kept(folder), checkpoint_every=0.0, **options)
    except Killed:
        return
    raise AssertionError("it went on")


def gone_on(folder, **options):
    return trained(checkpoint=kept(folder), on_step=lambda *_: None, **options)


def kept(folder):
    return Path(os.environ["FOLDER"]) / folder


def in_use():
    """By another one, as the first process sees it."""
    with locked(kept("used")) if rank() == 0 else contextlib.nullcontext():
        return refused(checkpoint=kept("used"))


def asked_to_stop():
    def ask(done, steps):
        if done == 2 and rank() == count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        trained(on_step=ask, checkpoint=kept("stopped"))
    except SystemExit as end:
        return end.code
    raise AssertionError("it went on")


def normed():
    """Running statistics of batches differ from part to part."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).double()
    result = trained(module, data(54))  # BatchNorm needs two rows of each batch in each process
    return {**result, "buffers": [full(b) for b in module.buffers()]}


def other_start():
    torch.manual_seed(10 + rank())
    module = nn.Linear(4, 1).double()
    return trained(module)


ddp, fsdp = {"wrap": in_ddp}, {"wrap": in_fsdp}
PROGRAMS = {
    "plain": trained,
    "float32": lambda: trained(network(torch.float32), data(dtype=torch.float32), valid=data(21, torch.float32)),
    "dataset": lambda: trained(given=Items(*data()), evaluate_train=True),
    "last batch of one": lambda: trained(given=data(51)),
    "last dataset batch of one": lambda: trained(given=Items(*data(51))),
    "fewer rows than processes": lambda: trained(given=data(1), valid=data(1)),
    "sum": lambda: trained(loss_func=torchbce.BCEWithLogitsLoss(reduction="sum"), make=torch.optim.SGD),
    "none": lambda: trained(loss_func=torchbce.BCEWithLogitsLoss(reduction="none")),
    "partly": lambda: (torch.manual_seed(1), trained(Partly()))[1],
    "no seed": lambda: (torch.manual_seed(4), trained(seed=None))[1],
    "schedule and patience": lambda: trained(epochs=30, patience=2, valid=(data(21)[0], 1 - data(21)[1])),
    "ddp": lambda: trained(**ddp),
    "ddp last batch of one": lambda: trained(given=data(51), **ddp),
    "ddp sum": lambda: trained(loss_func=torchbce.BCEWithLogitsLoss(reduction="sum"), make=torch.optim.SGD, **ddp),
    "fsdp": lambda: trained(**fsdp),
    "fsdp last batch of one": lambda: trained(given=data(51), valid=data(1), **fsdp),
    "rows": rows_seen,
    "other start": other_start,
    "normed": normed,
    "uneven": lambda: trained(given=Uneven(*data(), rank(), count()), sharded=True, epochs=2, seed=None),
    "uneven ddp": lambda: trained(given=Uneven(*data(), rank(), count()), sharded=True, epochs=2, seed=None, **ddp),
    "sampler": lambda: warned(with_sampler),
    "loader": lambda: refused(given=DataLoader(TensorDataset(*data()), batch_size=BATCH, shuffle=True)),
    "list": lambda: refused(given=[data()]),
    "weighted mean": lambda: refused(loss_func=torchbce.BCEWithLogitsLoss(normalize="valid", ignore_index=-1)),
    "nan": lambda: refused(given=strange(7)),
    "nan ddp": lambda: refused(given=strange(7), **ddp),
    "nan skipped": lambda: warned(lambda: trained(given=strange([7, 8]), on_nan="skip", evaluate_train=False)),
    "nan skipped ddp": lambda: warned(
        lambda: trained(given=strange([7, 8]), on_nan="skip", evaluate_train=False, **ddp)
    ),
    "bfloat16": lambda: trained(
        network(torch.float32), data(dtype=torch.float32), valid=data(21, torch.float32), autocast=torch.bfloat16
    ),
    "killed": lambda: killed_in(4, "plain"),
    "killed ddp": lambda: killed_in(4, "ddp", **ddp),
    "killed fsdp": lambda: killed_in(4, "fsdp", **fsdp),
    "gone on": lambda: gone_on("plain"),
    "gone on ddp": lambda: gone_on("ddp", **ddp),
    "gone on fsdp": lambda: gone_on("fsdp", **fsdp),
    "killed, gone on": lambda: (killed_in(4, "same"), gone_on("same"))[1],
    "killed, gone on fsdp": lambda: (killed_in(4, "same fsdp", **fsdp), gone_on("same fsdp", **fsdp))[1],
    "asked to stop": asked_to_stop,
    "in use": in_use,
}


def main(file: str, *names: str) -> None:
    torch.set_num_threads(1)
    with select.forced("reference"):
        found = {"joined by fit": trained()}
        assert not distributed.is_initialized()
        distributed.init_process_group("gloo")
        found |= {name: PROGRAMS[name]() for name in names}
    torch.save(found, f"{file}-{os.environ['RANK']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave_group()
