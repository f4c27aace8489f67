"""Trainers of networks: compiled code on the CPU, torch on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from torchbce.checkpoint.form import Array, Whole, require
from torchbce.checkpoint.record import State
from torchbce.perceptron.flat_parameters import flattened
from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer, one_blas_thread
from torchbce.table.network.compiled import compiled, compiled_shared
from torchbce.table.network.device_rows import DeviceRows
from torchbce.table.network.devices import device_named
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.network.torch_forward import TorchForward
from torchbce.table.network.torch_trainer import TorchTrainer

MICRO_BATCH = 256  # rows: enough for matrix products to be fast, few enough that many workers get some of a batch
GPU_MICRO_BATCH = 1024  # a GPU takes about as long for these


class Trainer(Protocol):
    """Trains and evaluates a network, with its optimiser's state; see `CompiledTrainer` and `TorchTrainer`."""

    gradient: Tensor
    steps: int
    skipped: int
    skipped_weight: float

    @property
    def parameters(self) -> Tensor: ...

    @property
    def moments(self) -> tuple[Tensor, Tensor]: ...

    def train(self, rows: Rows, order: Tensor, rates: Tensor, total: float = 0.0) -> float: ...

    def accumulate_gradient(self, rows: Rows, order: Tensor, *, batch_rows: int, dropout_counter: int) -> Tensor: ...

    def apply(self, rate: float) -> None: ...

    def outputs(self, rows: Rows, order: Tensor | None = None) -> Tensor: ...


def state_of(trainer: Trainer) -> State:
    """Serialize weights and the optimiser's state, on the CPU."""
    return {
        "weights": trainer.parameters.cpu(),
        "moments": tuple(moment.cpu() for moment in trainer.moments),
        "steps": trainer.steps,
    }


def state_form(trainer: Trainer) -> Any:
    """Return the form of `state_of` for a trainer of this size."""
    size = (len(trainer.parameters),)
    return {"weights": Array(size), "moments": (Array(size), Array(size)), "steps": Whole()}


def load_state(trainer: Trainer, state: State) -> None:
    """Restore from `state_of`, after a check: `copy_` would broadcast a smaller tensor."""
    require(state, state_form(trainer), "state")
    trainer.parameters.copy_(state["weights"])
    for moment, before in zip(trainer.moments, state["moments"], strict=True):
        moment.copy_(before)
    trainer.steps = state["steps"]


class TrainerFactory:
    """Makes the trainers of one run; those on a device share the rows there.

    Raises:
        InputError: a device that does not exist.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device_named(device)
        self._rows = DeviceRows(self.device)

    @property
    def uses_torch(self) -> bool:
        """Whether torch trains, rather than compiled code."""
        return self.device.type != "cpu"

    @property
    def micro_batch_rows(self) -> int:
        """Rows of a micro-batch."""
        return MICRO_BATCH if self.device.type == "cpu" else GPU_MICRO_BATCH

    def trainer(
        self, network: TableNetwork, optimizer: Optimizer, *, batch: int, seed: int, skip: bool = False
    ) -> Trainer:
        """Make the network's trainer; the network moves to the device, and must stay there while it is used."""
        if not self.uses_torch:
            return compiled(network, optimizer, batch=batch, seed=seed, skip=skip)
        return self._torch_trainer(network, optimizer, batch, seed, skip=skip)

    def shared_trainers(self, network: TableNetwork, optimizer: Optimizer, count: int, *, seed: int) -> list[Trainer]:
        """Make trainers of micro-batches for as many threads, with shared parameters; the first has the optimiser.

        By torch it is one, as threads would queue for the GPU.
        """
        if not self.uses_torch:
            return [*compiled_shared(network, optimizer, count, batch=self.micro_batch_rows, seed=seed)]
        return [self._torch_trainer(network, optimizer, self.micro_batch_rows, seed, skip=False)]

    @contextlib.contextmanager
    def single_threaded(self) -> Iterator[None]:
        """Let torch and BLAS start no threads in the block: trainers are called by threads already."""
        before = torch.get_num_threads()
        with one_blas_thread():
            if self.uses_torch:
                torch.set_num_threads(1)
            try:
                yield
            finally:
                if self.uses_torch:
                    torch.set_num_threads(before)

    def _torch_trainer(
        self, network: TableNetwork, optimizer: Optimizer, batch: int, seed: int, *, skip: bool
    ) -> TorchTrainer:
        parameters = flattened(network.to(self.device))
        forward = TorchForward(network)
        return TorchTrainer(forward, parameters, optimizer, rows=self._rows, batch=batch, seed=seed, skip=skip)
