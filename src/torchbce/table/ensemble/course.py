"""The epochs of an ensemble: all members side by side, until none gets better; kept now and then, so that a killed run
goes on where it was and ends with the same bits.

Under torchrun each process trains some of the members. What all of them need to know of an epoch is told after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from torchbce.checkpoint.checkpointer import NO_CHECKPOINTS, Checkpointer
from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.side_by_side import results
from torchbce.common.signals import Came, signals_held
from torchbce.monitor.history import Epoch
from torchbce.table.columns.matrix import Data
from torchbce.table.ensemble.ensemble import mean_logits
from torchbce.table.ensemble.judged import STATE_FORM, Judge, Judged, Learning, not_finite
from torchbce.table.ensemble.member import Member, NotFinite
from torchbce.table.ensemble.recipe import Recipe


@dataclass(frozen=True)
class Watch:
    """Who is told of a run while it goes on; `resumed` of the epoch it goes on with, `stage` of what comes next."""

    epoch: Callable[[Epoch], object] | None = None
    step: Callable[[int, int], object] | None = None
    resumed: Callable[[int], object] | None = None
    stage: Callable[[str], object] | None = None
    checkpointer: Checkpointer = NO_CHECKPOINTS

    def begin(self, stage: str) -> None:
        """Say what comes next."""
        if self.stage:
            self.stage(stage)


@dataclass
class Course:
    """A run of epochs, and where it is."""

    members: list[Member]
    judged: Judged
    chosen: Recipe
    watch: Watch = field(default_factory=Watch)
    _seconds: float = 0.0  # of the epoch in progress
    _ended: bool = False  # whether there is no epoch to come

    def run(self, weight: float) -> None:
        """To the end; `weight` is the sum of the weights of all rows that members learn from.

        Raises:
            InputError: a loss that is not finite.
        """
        self._resume()
        workers = ThreadPoolExecutor(torch.get_num_threads(), "member")
        alone = self.members[0].machines.single_threaded()
        with signals_held(hold=self._keeps_alone) as came, alone, workers as threads:
            while not (self._is_over or came):
                self._train(threads, came)
                if not came:
                    self._conclude(threads, weight)
            if self.watch.checkpointer.enabled and not self._ended:  # what comes after the last epoch may be cut short
                self._ended = not came
                self.watch.checkpointer.save(self._state())
        kept = processes.gather_shared({i: member.kept for i, member in self._mine.items()})
        for member, best in zip(self.members, kept, strict=True):
            member.kept = best
            member.restore()

    @property
    def _mine(self) -> Mapping[int, Member]:
        return processes.own_share(self.members)

    @property
    def _is_over(self) -> bool:
        return (
            self._ended
            or self.judged.is_over(self.chosen)
            or (len(self.judged.history) > 0 and self.members[0].schedule.is_over)
        )

    @property
    def _keeps_alone(self) -> bool:
        """Whether this process can keep the state at any time: it has all members."""
        return self.watch.checkpointer.enabled and processes.world_size() == 1

    def _train(self, threads: ThreadPoolExecutor, came: Came) -> None:
        """All members through the epoch, unless a signal came."""
        checkpointer = self.watch.checkpointer
        if not self._keeps_alone:
            if processes.from_first(lambda: checkpointer.is_due):
                checkpointer.save(self._state())
            processes.in_all(lambda: self._side_by_side(threads, lambda: False))
            return
        while not (came or all(member.is_through for member in self.members)):
            self._side_by_side(threads, lambda: bool(came) or checkpointer.is_due)
            if checkpointer.is_due:
                checkpointer.save(self._state())

    def _side_by_side(self, threads: ThreadPoolExecutor, is_to_stop: Callable[[], bool]) -> None:
        """Each member to the end of the epoch, unless it is to stop; Ctrl-C ends all of them."""
        stop, mine = threading.Event(), list(self._mine.values())
        start, steps = time.perf_counter(), sum(member.steps_per_epoch for member in mine)
        futures = [threads.submit(member.advance, stop.is_set) for member in mine]

        def on_look() -> None:
            if is_to_stop():
                stop.set()
            if self.watch.step:
                self.watch.step(sum(member.done for member in mine), steps)

        try:
            results(futures, stop, on_look)
        except NotFinite as found:
            where = f"a batch from {found.first:,} to {found.last:,}"
            raise InputError(not_finite(len(self.judged.history) + 1, found.loss, where)) from None
        self._seconds += time.perf_counter() - start

    def _conclude(self, threads: ThreadPoolExecutor, weight: float) -> None:
        """What the epoch came to; the next begins."""
        mine = self._mine
        outputs = dict(zip(mine, threads.map(Member.valid_outputs, mine.values()), strict=True))
        told = processes.gather_shared(
            {
                i: (member.total, member.machine.skipped, member.machine.skipped_weight, outputs[i])
                for i, member in mine.items()
            }
        )
        totals, skipped, left_out, found = zip(*told, strict=True)
        every = np.concatenate(found)
        self.judged.require_finite(every)
        judge = self.judged.judge
        is_best = self.judged.add(
            together(mean_logits(every), judge.place, len(judge.rows)),
            Learning(sum(totals), weight, sum(left_out), sum(skipped), self._seconds),
        )
        if is_best:
            for member in mine.values():
                member.keep()
        for member in self.members:
            member.begin()
        self._seconds = 0.0
        if self.watch.epoch:
            self.watch.epoch(self.judged.history[-1])

    def _state(self) -> State:
        members = processes.gather_shared({i: member.state_dict() for i, member in self._mine.items()})
        return {
            "members": members,
            "judged": self.judged.state_dict(),
            "seconds": self._seconds,
            "ended": self._ended,
        }

    def _check(self, state: State) -> None:
        """Raise a ValueError unless the parts of a state that has the form fit each other."""
        history = state["judged"]["history"]
        self.judged.check_state(state["judged"])
        for member, before in zip(self.members, state["members"], strict=True):
            steps = len(history["epochs"]) * member.steps_per_epoch + before["done"]
            if before["machine"]["steps"] != steps:
                raise ValueError(f"a network has taken {before['machine']['steps']} steps, expected {steps}")
            if (before["kept"] is None) != (history["chosen"] is None):
                raise ValueError("the weights of the best epoch are not there, or there is no such epoch")

    def _resume(self) -> None:
        """Where the last checkpoint was taken, if there is one."""
        members = [member.state_form() for member in self.members]
        form = {"members": members, "judged": STATE_FORM, "seconds": float, "ended": bool}
        state = self.watch.checkpointer.load(form, self._check)
        if state is None:
            return
        for member, before in zip(self.members, state["members"], strict=True):
            member.load_state_dict(before)
        self.judged.load_state_dict(state["judged"])
        self._seconds, self._ended = state["seconds"], state["ended"]
        if self.watch.resumed and not self._ended:
            self.watch.resumed(len(self.judged.history) + 1)


def judge_of(members: list[Member], data: Data, *, enough: bool) -> Judge:
    """All rows that any member is judged by. `enough`: whether there are enough to speak of a baseline."""
    judged = np.concatenate([member.part.valid.numpy() for member in members])
    rows, place = np.unique(judged, return_inverse=True)
    return Judge(
        rows=rows,
        place=place,
        target=data.target[rows],
        weight=np.ones(len(rows)) if data.weight is None else data.weight[rows],
        by_all=len(judged) == len(members) * len(rows),
        base_rate=data.base_rate if enough else None,
    )


def together(logits: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """One logit per row, of the mean probability where several members were judged by it."""
    yes, no = np.full((2, count), -np.inf)
    np.logaddexp.at(yes, place, -np.logaddexp(0.0, -logits))
    np.logaddexp.at(no, place, -np.logaddexp(0.0, logits))
    return np.asarray(yes - no)
