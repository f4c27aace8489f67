"""All that the rest of a run depends on: weights, optimizer, random numbers, and the position in the data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches, IterableBatches, TensorBatches
from torchbce.fitting.checkpointer import describe_position
from torchbce.fitting.compiled import CompiledTraining
from torchbce.fitting.forward import devices_of
from torchbce.fitting.progress import Progress
from torchbce.fitting.random_state import new_stream, random_state, restore_random_state
from torchbce.fitting.sharding import full_state, load_module, load_optimizer, shard_like

State = dict[str, Any]
LOG = logging.getLogger("torchbce")


@dataclass
class TrainingState:
    """The state of a run. `module` is the user's own, without what it may be wrapped in."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    scaler: torch.amp.GradScaler | None
    batches: Batches
    progress: Progress
    compiled: CompiledTraining | None = None
    _random_after_replay: State | None = None

    def position(self) -> State:
        """Positions in the data and in the random numbers, of all processes; all must call it."""
        random = random_state(devices_of(self.module))
        return {
            "source": processes.all_gather(self.batches.state_dict()),
            "random": processes.all_gather(random),
            "done": self.batches.done,
        }

    def state_dict(self, position: State) -> State:
        """Serialize all but `position`, which may be an earlier one."""
        if self.compiled is not None:
            self.compiled.write_optimizer_state()
        return {
            "module": full_state(self.module.state_dict()),
            "optimizer": full_state(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "best_weights": full_state(self.progress.best_weights),
            "progress": self.progress.state_dict(),
            "compiled": self.compiled is not None,
            **position,
        }

    def load_state_dict(self, state: State) -> None:
        """Restore from `state_dict`, also of another number of processes.

        Raises:
            InputError: their data cannot be divided anew in the middle of an epoch.
        """
        load_module(self.module, state["module"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])
        self._load_progress(state)
        self._load_position(state)
        self.progress.history.resumed_at = (self.progress.epoch, state["done"])
        if processes.is_first():
            LOG.info("going on from %s", describe_position(self.progress.epoch, state["done"]))

    def restore_after_replay(self) -> None:
        """Set the random numbers of the checkpoint, once the batches before it have been drawn again."""
        state, self._random_after_replay = self._random_after_replay, None
        if state is not None:
            restore_random_state(state, devices_of(self.module))

    def skip_replay(self) -> None:
        """Draw on from the replayed order of the batches, which was all that the epoch drew."""
        self._random_after_replay = None

    def _load_progress(self, state: State) -> None:
        progress = self.progress
        progress.load_state_dict(state["progress"])
        if self.compiled is not None:
            self.compiled.read_optimizer_state()
        elif state["compiled"] and isinstance(self.batches, TensorBatches) and state["done"]:
            seen = min(state["done"] * self.batches.batch_size, self.batches.rows)
            progress.running.update(progress.total / seen, count=seen, reduction="mean")
        if state["best_weights"] is not None:
            own = self.module.state_dict()
            progress.best_weights = {n: shard_like(v, own[n]) for n, v in state["best_weights"].items()}

    def _load_position(self, state: State) -> None:
        rank, size, saved = processes.rank(), processes.world_size(), len(state["source"])
        if saved != size and isinstance(self.batches, IterableBatches) and state["done"]:
            raise InputError(
                f"the checkpoint is of {saved} processes in the middle of an epoch, and now there are {size}: with a "
                "DataLoader or iterable go on with as many; tensors and Datasets go on with any number"
            )
        self.batches.load_state_dict(state["source"][rank if saved == size else 0])
        streams = state["random"]
        random = streams[rank] if rank < len(streams) else new_stream(streams[0], rank)
        if state["done"]:
            self._random_after_replay = random  # the batches that are done come first
        else:
            restore_random_state(random, devices_of(self.module))
