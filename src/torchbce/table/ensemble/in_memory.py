"""Train on rows in memory: members side by side, each on other rows of the table and on its own thread.

Under torchrun each process trains some of the members; what all need to know of an epoch is gathered after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.side_by_side import results
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.ensemble.ensemble import mean_logits, pool_logits
from torchbce.table.ensemble.member import Member, NotFinite
from torchbce.table.ensemble.strategy import EpochControl
from torchbce.table.ensemble.validation import EpochTotals, ValidationSet, not_finite, require_finite


@dataclass
class MembersInMemory:
    """The strategy of a table in memory; see `Strategy`.

    weight: the sum of the weights of all rows that members learn from, over the members.
    """

    members: list[Member]
    validation: ValidationSet
    threads: ThreadPoolExecutor
    weight: float
    _seconds: float = 0.0  # of the epoch in progress

    @property
    def can_stop(self) -> bool:
        """Whether this process alone has all members."""
        return processes.world_size() == 1

    @property
    def out_of_time(self) -> bool:
        return self.members[0].schedule.is_over

    def train_epoch(self, control: EpochControl) -> None:
        if not (control.callbacks.checkpointer.enabled and self.can_stop):
            if processes.from_first(lambda: control.is_checkpoint_due):
                control.save()
            processes.in_all(lambda: self._side_by_side(control, lambda: False))
            return
        while not (control.stop or all(member.is_through for member in self.members)):
            self._side_by_side(control, lambda: bool(control.stop) or control.is_checkpoint_due)
            if control.is_checkpoint_due:
                control.save()

    def _side_by_side(self, control: EpochControl, is_to_stop: Callable[[], bool]) -> None:
        """Train each member to the end of the epoch, or until it is to stop; Ctrl-C ends all of them."""
        stop, own = threading.Event(), list(self._own.values())
        start, steps = time.perf_counter(), sum(member.steps_per_epoch for member in own)
        futures = [self.threads.submit(member.advance, stop.is_set) for member in own]

        def on_look() -> None:
            if is_to_stop():
                stop.set()
            if control.callbacks.step:
                control.callbacks.step(sum(member.done for member in own), steps)

        try:
            results(futures, stop, on_look)
        except NotFinite as error:
            where = f"a batch from {error.first:,} to {error.last:,}"
            raise InputError(not_finite(control.number, error.loss, where)) from None
        self._seconds += time.perf_counter() - start

    def validation_logits(self, epoch: int) -> np.ndarray:
        own = self._own
        outputs = dict(zip(own, self.threads.map(Member.valid_outputs, own.values()), strict=True))
        every = np.concatenate(processes.gather_shared(outputs))
        require_finite(every, epoch)
        return pool_logits(mean_logits(every), self._positions(), len(self.validation.rows))

    def _positions(self) -> np.ndarray:
        """Return the positions of each member's rows among the validation rows, member after member."""
        return np.searchsorted(self.validation.rows, np.concatenate([m.split.valid.numpy() for m in self.members]))

    def totals(self) -> EpochTotals:
        sums = processes.gather_shared(
            {i: (m.total, m.machine.skipped, m.machine.skipped_weight) for i, m in self._own.items()}
        )
        losses, skipped, left_out = zip(*sums, strict=True)
        return EpochTotals(sum(losses), self.weight, sum(left_out), sum(skipped), self._seconds)

    def save_best(self) -> None:
        for member in self._own.values():
            member.save_best()

    def restore_best(self) -> None:
        best = processes.gather_shared({i: member.best for i, member in self._own.items()})
        for member, weights in zip(self.members, best, strict=True):
            member.best = weights
            member.restore_best()

    def begin_epoch(self) -> None:
        for member in self.members:
            member.begin_epoch()
        self._seconds = 0.0

    @property
    def _own(self) -> Mapping[int, Member]:
        """Return the members that this process trains, by their numbers."""
        return processes.own_share(self.members)

    def state_dict(self) -> State:
        members = processes.gather_shared({i: member.state_dict() for i, member in self._own.items()})
        return {"members": members, "seconds": self._seconds}

    def state_form(self) -> Any:
        return {"members": [member.state_form() for member in self.members], "seconds": float}

    def check_state(self, state: State, epochs: int, *, has_best: bool) -> None:
        for member, before in zip(self.members, state["members"], strict=True):
            member.check_state(before, epochs, has_best=has_best)

    def load_state_dict(self, state: State) -> None:
        for member, before in zip(self.members, state["members"], strict=True):
            member.load_state_dict(before)
        self._seconds = state["seconds"]


def validation_set(members: list[Member], data: TrainingMatrix, *, enough: bool) -> ValidationSet:
    """Return all rows that any member is judged by. `enough`: whether there are enough for a baseline."""
    judged = np.concatenate([member.split.valid.numpy() for member in members])
    rows = np.unique(judged)
    return ValidationSet(
        rows=rows,
        target=data.target[rows],
        weight=np.ones(len(rows)) if data.weight is None else data.weight[rows],
        by_all=len(judged) == len(members) * len(rows),
        base_rate=data.base_rate if enough else None,
    )
