"""EpochBCE: the mean loss over items, from batches of any size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchbce.common import group
from torchbce.engine.options import Normalize
from torchbce.explanation.statistics.entropy import cross_entropy, percent_below
from torchbce.monitor.convention import Convention
from torchbce.monitor.counting import Batch, Divided, Number, counted, divided, total_of

__all__ = ["EpochBCE"]


class EpochBCE:
    r"""The true mean of a loss over all items of an epoch, in nats.

    The mean of batch means is not it: a short last batch gets the weight of a full one. The meter keeps the sum of the
    loss and what it is divided by in float64, and divides once: it says what the loss would say of all items of the
    epoch in one call. On a GPU it waits for nothing until it is read.

    Args:
        loss_func: the loss whose values it gets: a module, a function, or a `functools.partial` of one. From it the
            meter takes what a 0-d loss is (``reduction``), which items count (``ignore_index``, ``num_classes``), and
            what a mean divides by (``normalize``); where that is a number, and of a sum or of single losses, the mean
            is over the items that count. A loss that is weighted, smoothed or not BCE is not compared with the base
            rate. Without a loss, or for one that does not say, a 0-d loss is taken for the mean over all targets, and
            the printed text says so.

    Example:
        >>> meter = EpochBCE()
        >>> meter.update(torch.tensor(0.5), torch.zeros(100))  # the mean loss of 100 items, and their targets
        >>> meter.update(torch.tensor(3.0), torch.zeros(1))
        >>> round(meter.compute(), 4)  # and not (0.5 + 3.0) / 2
        0.5248
    """

    def __init__(self, loss_func: object = None) -> None:
        self._convention = Convention.of(loss_func)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was seen; the loss stays."""
        self._loss, self._plain, self._unit = self._convention.name, self._convention.plain, ""
        self._total: Number = 0.0
        self._divisor: Number = 0.0
        self._count: Number = 0
        self._counted: Number = 0  # items that count in the base rate
        self._ones: Number = 0.0
        self._blind = self._assumed = False  # some losses came without targets; without a reduction

    def update(
        self,
        loss: Tensor | float,
        targets: Tensor | None = None,
        *,
        count: int | None = None,
        reduction: str | None = None,
        mask: Tensor | None = None,
        weight: Tensor | float | None = None,
        normalize: Normalize | None = None,
    ) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean or sum (0-d), or the losses of its items (any other shape).
            targets: the batch's targets as the loss got them; they give the count and the base rate.
            count: the number of items that the loss is of, where there are no targets or the loss does not say.
            reduction: what a 0-d loss is: ``'mean'`` or ``'sum'``; by default what the loss function says.
            mask, weight, normalize: those of the loss's call, where it was given any.

        Raises:
            ValueError: a 0-d loss without targets or count, since a mean means nothing without its count; counts that
                contradict each other; an unknown reduction; a mean that may divide by several things; a batch whose
                mean is over something else than that of the batches before.
        """
        losses = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss), dtype=torch.float64)
        own = self._convention.reduction if self._convention.reduction != "none" else None
        if reduction not in (None, "mean", "sum"):
            raise ValueError(f"reduction is {reduction!r}; a 0-d loss is a 'mean' or a 'sum'")
        form = "none" if losses.ndim else reduction or own or "mean"
        if targets is not None and not isinstance(targets, Tensor):
            raise TypeError(f"targets must be a Tensor, got {type(targets).__name__}; a number of items goes to count=")
        rule = self._convention.divides_by(form, masked=mask is not None) if normalize is None else normalize
        batch = self._seen(losses, targets, mask, weight, weighs=isinstance(rule, str) and rule == "weight")
        if batch is not None and losses.ndim and losses.numel() != batch.size:
            raise ValueError(f"the numbers of items differ: targets {batch.size}, loss {losses.numel()}")
        how = self._divided(batch, count, rule, form)
        if not isinstance(how.count, Tensor) and not how.count:
            return  # nothing counts
        if self._unit not in ("", how.unit):
            raise ValueError(f"the meter's mean is one per {self._unit}, and this batch's one per {how.unit}")
        self._unit = how.unit
        self._assumed |= form == "mean" and reduction is None and own is None
        if losses.ndim and mask is not None and not self._convention.known:
            losses = torch.where(mask, losses, 0.0)
        self._total = self._total + total_of(losses, how.factor if form == "mean" else None)
        self._divisor, self._count = self._divisor + how.divisor, self._count + how.count
        self._plain &= weight is None
        if targets is None or batch is None:
            self._blind = True
        else:
            self._ones, self._counted = self._ones + batch.ones, self._counted + batch.counted

    def _seen(
        self,
        losses: Tensor,
        targets: Tensor | None,
        mask: Tensor | None,
        weight: Tensor | float | None,
        *,
        weighs: bool,
    ) -> Batch | None:
        """Count the batch by its targets, or by the shape of single losses where the loss ignores no target."""
        convention = self._convention
        if targets is None:
            single = losses.ndim and "ignore_index" not in convention.options
            return counted(torch.zeros_like(losses), Convention(), mask, weight, weighs=weighs) if single else None
        if convention.labels is not None and (targets.ndim < 2 or targets.shape[-1] != convention.labels):
            return None  # the numbers of each row's labels: only count= knows the items
        return counted(targets, convention, mask, weight, weighs=weighs)

    def _divided(self, batch: Batch | None, count: int | None, rule: Normalize | None, form: str) -> Divided:
        """Return what the loss was divided by, and its number of items.

        Raises:
            ValueError: that cannot be told, or is said twice and differently.
        """
        if (
            rule is None
            and batch is not None
            and batch.counted == batch.size
            and "weight" not in self._convention.options
        ):
            rule = "numel"  # nothing is ignored here
        if rule is None and count is None:
            raise ValueError(
                f"what the mean of {self._loss} divides by is not known, as it ignores or weighs items: give the "
                "number as count=, or the loss with reduction='sum'"
            )
        if batch is not None and rule is not None:
            how = divided(batch, rule)
            if count is not None and count != how.count:
                raise ValueError(f"the numbers of items differ: targets {int(how.count)}, count {count}")
            return how
        if count is None:
            raise ValueError(
                "a mean means nothing without its count: write update(loss, targets) or count=len(targets)"
            )
        if isinstance(rule, str) and rule == "weight" and form == "mean":
            raise ValueError("the loss divides by the weights of its items: write update(loss, targets)")
        return divided(Batch(count, count, 0.0, count, count), "valid" if rule is None else rule)

    def merge(self, other: EpochBCE) -> None:
        """Add what another meter has seen: of another process, or of another part of the data.

        Raises:
            ValueError: a meter of another loss, whose values do not add up with these.
        """
        if self._loss != other._loss and not self._takes(other):
            mine, theirs = (meter._loss or "a loss that it was not given" for meter in (self, other))
            raise ValueError(
                f"this meter has seen {mine}, and the other {theirs}: their losses do not add up; give both the same "
                "loss, as EpochBCE(loss_func)"
            )
        if self._unit and other._unit and self._unit != other._unit:
            raise ValueError(f"this meter's mean is one per {self._unit}, and the other's one per {other._unit}")
        self._loss, self._unit = self._loss or other._loss, self._unit or other._unit
        self._plain &= other._plain
        self._total, self._divisor = self._total + other._total, self._divisor + other._divisor
        self._count, self._counted = self._count + other._count, self._counted + other._counted
        self._ones = self._ones + other._ones
        self._blind |= other._blind
        self._assumed |= other._assumed

    def _takes(self, other: EpochBCE) -> bool:
        """Return whether one meter has no loss, and has seen nothing, or what passes for the plain BCE of the other."""
        pairs = ((self, other), (other, self))
        return any(one._loss is None and (not one._unit or two._is_without_options) for one, two in pairs)

    @property
    def _is_without_options(self) -> bool:
        return self._plain and not (self._loss or "").endswith(")")

    def gathered(self) -> EpochBCE:
        """Merge the meters of all processes of `torch.distributed`; every process gets the same.

        Every process counts what it has seen: a sampler that pads its part repeats items, and they would count twice.

        Raises:
            ValueError: processes whose meters are of different losses.
        """
        whole = EpochBCE()
        parts = [self.state_dict()]
        if group.count() > 1:
            parts *= group.count()
            torch.distributed.all_gather_object(parts, parts[group.number()])
        for state in parts:
            part = EpochBCE()
            part.load_state_dict(state)
            whole.merge(part)
        for name in ("total", "divisor", "ones"):
            setattr(whole, f"_{name}", math.fsum(state[name] for state in parts))
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Return what it has seen, in numbers, and the name of the loss."""
        return {
            "loss": self._loss,
            "plain": self._plain,
            "unit": self._unit,
            "total": float(self._total),
            "divisor": float(self._divisor),
            "count": self.count,
            "counted": int(self._counted),
            "ones": float(self._ones),
            "blind": self._blind,
            "assumed": self._assumed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from `state_dict`.

        Raises:
            ValueError: the state of a meter of another loss.
        """
        if self._convention.name is not None and state["loss"] not in (None, self._convention.name):
            raise ValueError(f"the state is of {state['loss']}, and this meter of {self._convention.name}")
        self.reset()
        self._loss = state["loss"] or self._loss
        self._plain, self._unit, self._blind, self._assumed = (
            state[name] for name in ("plain", "unit", "blind", "assumed")
        )
        self._total, self._divisor, self._count = state["total"], state["divisor"], state["count"]
        self._counted, self._ones = state["counted"], state["ones"]

    @property
    def count(self) -> int:
        """Return the number of items that the mean is over; rows, where the loss divides by them."""
        return int(self._count)

    @property
    def total(self) -> float:
        """Return the sum of the loss over all items, in nats."""
        return float(self._total)

    def compute(self) -> float:
        """Return the mean loss over all items, in nats; NaN where there are none."""
        divisor = float(self._divisor)
        return self.total / divisor if divisor else math.nan

    @property
    def share(self) -> float:
        """Return the base rate, the mean of the targets that count; NaN unless every update gave targets."""
        items = 0 if self._blind else int(self._counted)
        return float(self._ones) / items if items else math.nan

    @property
    def baseline(self) -> float:
        """Return the loss of always answering the base rate, in nats; NaN where not known, or for another loss."""
        return self.cost_of(self.share) if self._plain else math.nan

    def cost_of(self, answer: float, share: float | None = None) -> float:
        """Return the loss of always answering one probability, in nats, by the loss's own mean; NaN where not known.

        Args:
            answer: the probability.
            share: of ones among the items, where not every update gave targets.
        """
        share = self.share if share is None else share
        if not (0 <= share <= 1 and 0 <= answer <= 1):
            return math.nan  # other targets have no base rate
        # A mean that divides by ignored items too is less than one over the items that count.
        part = 1.0 if self._blind else int(self._counted) / float(self._divisor)
        return cross_entropy(share, answer) * part

    def __str__(self) -> str:
        if not self.count:
            return "no items yet"
        name = "row" if self._unit == "row" else "item"
        text = f"{self.compute():.4f} nats per {self._unit} over {self.count:,} {name}{'s' * (self.count != 1)}"
        ignored = 0 if self._blind or self._unit == "row" else self.count - int(self._counted)
        text += f", {ignored:,} of them ignored" * (ignored > 0)
        if not math.isnan(self.baseline):
            text += f", {percent_below(self.compute(), self.baseline)}"
        return text + ", each loss taken for a mean" * self._assumed

    def __repr__(self) -> str:
        return f"EpochBCE({self})"
