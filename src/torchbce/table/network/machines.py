"""What trains networks: compiled code on the processor, torch on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from torchbce.checkpoint.form import Array, Whole, require
from torchbce.checkpoint.record import State
from torchbce.perceptron.flat import flattened
from torchbce.perceptron.machine import Optimizer, one_blas_thread
from torchbce.perceptron.rows import Rows
from torchbce.table.network.compiled import compiled, compiled_shared
from torchbce.table.network.device_rows import DeviceRows
from torchbce.table.network.devices import device_named
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.network.torch_forward import TorchForward
from torchbce.table.network.torch_machine import TorchMachine

LANE = 256  # rows: enough for matrix products to be fast, few enough that a batch has lanes for many
GPU_LANE = 1024  # a GPU takes about as long for these


class TableMachine(Protocol):
    """A network with its optimiser's state; see `Machine` and `TorchMachine`."""

    gradient: Tensor
    steps: int
    skipped: int
    skipped_weight: float

    @property
    def parameters(self) -> Tensor: ...

    @property
    def moments(self) -> tuple[Tensor, Tensor]: ...

    def train(self, rows: Rows, order: Tensor, rates: Tensor, total: float = 0.0) -> float: ...

    def lanes(self, rows: Rows, order: Tensor, *, of: int, draw: int) -> Tensor: ...

    def apply(self, rate: float) -> None: ...

    def outputs(self, rows: Rows, order: Tensor | None = None) -> Tensor: ...


def state_of(machine: TableMachine) -> State:
    """Its weights and its optimiser's state, on the processor."""
    return {
        "weights": machine.parameters.cpu(),
        "moments": tuple(moment.cpu() for moment in machine.moments),
        "steps": machine.steps,
    }


def state_form(machine: TableMachine) -> Any:
    """What `state_of` gives of a machine as large as this."""
    size = (len(machine.parameters),)
    return {"weights": Array(size), "moments": (Array(size), Array(size)), "steps": Whole()}


def load_state(machine: TableMachine, state: State) -> None:
    """Be what `state_of` was taken of; see `state_form`, as a smaller tensor would be spread over a larger one."""
    require(state, state_form(machine), "state")
    machine.parameters.copy_(state["weights"])
    for moment, before in zip(machine.moments, state["moments"], strict=True):
        moment.copy_(before)
    machine.steps = state["steps"]


class Machines:
    """Makes the machines of one training; those on a device share the rows there.

    Raises:
        InputError: a device that is not there.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device_named(device)
        self._rows = DeviceRows(self.device)

    @property
    def by_torch(self) -> bool:
        """Return whether torch trains rather than compiled code."""
        return self.device.type != "cpu"

    @property
    def lane(self) -> int:
        """Rows of a part of a batch that is differentiated by itself."""
        return LANE if self.device.type == "cpu" else GPU_LANE

    def one(
        self, network: TableNetwork, optimizer: Optimizer, *, batch: int, seed: int, skip: bool = False
    ) -> TableMachine:
        """The network's machine; the network moves to the device, and must stay there while it is used."""
        if not self.by_torch:
            return compiled(network, optimizer, batch=batch, seed=seed, skip=skip)
        return self._by_torch(network, optimizer, batch, seed, skip=skip)

    def sharing(self, network: TableNetwork, optimizer: Optimizer, count: int, *, seed: int) -> list[TableMachine]:
        """Return trainers of lanes for as many threads, of one set of parameters; the first has the optimiser.

        By torch it is one, as threads would queue for the GPU.
        """
        if not self.by_torch:
            return [*compiled_shared(network, optimizer, count, batch=self.lane, seed=seed)]
        return [self._by_torch(network, optimizer, self.lane, seed, skip=False)]

    @contextlib.contextmanager
    def one_thread_each(self) -> Iterator[None]:
        """Machines are called by threads, and no bit is to depend on how many more torch and BLAS would start."""
        before = torch.get_num_threads()
        with one_blas_thread():
            if self.by_torch:
                torch.set_num_threads(1)
            try:
                yield
            finally:
                if self.by_torch:
                    torch.set_num_threads(before)

    def _by_torch(
        self, network: TableNetwork, optimizer: Optimizer, batch: int, seed: int, *, skip: bool
    ) -> TorchMachine:
        parameters = flattened(network.to(self.device))
        forward = TorchForward(network)
        return TorchMachine(forward, parameters, optimizer, rows=self._rows, batch=batch, seed=seed, skip=skip)
