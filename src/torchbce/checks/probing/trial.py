"""Running a copy of somebody's model on a batch, so that nothing of theirs is changed.

That is: weights, gradients, buffers and modes of the model and the loss, the batch's values, and the random numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.probing import loss_graph
from torchbce.checks.probing.batch_form import Batch, batch_forms, batch_gradient
from torchbce.checks.probing.copies import copied, copied_if_possible, gradients_kept, randomness_kept, seed
from torchbce.checks.probing.fingerprint import Fingerprint, fingerprint, identified
from torchbce.checks.probing.form import LossFunction
from torchbce.checks.probing.parts import (
    at_path,
    outputs_path,
    reached_by_loss,
    replaced,
    targets_of,
    tensors_in,
    with_all_targets,
)
from torchbce.common.batch import call, unpack
from torchbce.engine import select

FAR = 1000.0, 12.0  # logits; the second where a loss written by hand takes the logarithm of 0 at the first
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


Step = Callable[[nn.Module, Any, torch.optim.Optimizer], object]


@dataclass(frozen=True)
class UserObjects:
    """The objects that the user gave, which are read only."""

    model: nn.Module
    batch: Any
    optimizer: torch.optim.Optimizer | None = None
    step: Step | None = None
    valid: Any = None


@dataclass(frozen=True)
class Trial:
    """A copy of a model and what it makes of a batch in training mode, without dropout.

    Attributes:
        user: the user's own objects.
        returned, outputs: what the model returns, and the tensor in it that is compared with the targets.
        counts: which items count, as a loss may leave some out; None where that cannot be told.
        loss: how the loss function is identified; None where it fails in every form.
        recoded: identified by the batch's own two values of targets, as it is not BCE of 0 and 1.
        maps: whether the loss turns the batch's own values of targets into probabilities.
        graph_takes, squashes: what torch's own BCE in the loss takes, "" where that is not known, and the activation
            that the loss itself puts before it.
        path: of the outputs in what the model returns, as `at_path` takes it.
        reached: the paths of all that the loss takes.
    """

    user: UserObjects
    model: nn.Module
    inputs: Any
    targets: Tensor
    loss_func: LossFunction
    returned: Any
    outputs: Tensor
    counts: Tensor | None
    loss: Fingerprint | None
    recoded: bool = False
    maps: bool = False
    graph_takes: str = ""
    squashes: str = ""
    path: str = ""
    reached: frozenset[str] = frozenset()

    @property
    def takes(self) -> str:
        """Return what outputs a cross-entropy takes: "logits", "probabilities", or "" for other losses."""
        if self.graph_takes:
            return self.graph_takes
        return self.loss.takes if self.loss is not None and self.loss.is_cross_entropy else ""

    def copy(self) -> nn.Module:
        """Return a copy of the model, to train or to change."""
        return copied(self.model)

    def gradients(self, model: nn.Module, loss: Tensor) -> None:
        """Set the gradients of the model's parameters."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        try:
            computed = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        except RuntimeError as error:
            if "checkpoint" not in str(error).lower():
                raise
            for parameter in parameters:  # reentrant checkpoints know backward alone
                parameter.grad = None
            loss.backward()  # type: ignore[no-untyped-call]
            return
        for parameter, gradient in zip(parameters, computed, strict=True):
            parameter.grad = gradient

    def value(self, model: nn.Module, inputs: Any = None, targets: Tensor | None = None) -> Tensor:
        """Return the loss of a model, here or on other items; its mean where it is not reduced."""
        returned = call(model, self.inputs if inputs is None else inputs)
        loss = self.loss_func(returned, self.targets if targets is None else targets)
        return loss if not isinstance(loss, Tensor) or loss.ndim == 0 else loss.mean()

    def loss_of(self, outputs: Tensor, targets: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Return the loss of other outputs than the model's, of all items or some; summed where it is not reduced."""
        returned = replaced(self.returned, self.outputs, outputs, rows)
        loss = self.loss_func(returned, self.targets if targets is None else targets)
        return loss if loss.ndim == 0 else loss.sum()

    @property
    def reduces(self) -> bool:
        """Return whether the loss is one number."""
        return self.loss_func(self.returned, self.targets).ndim == 0

    @property
    def can_be_cut(self) -> bool:
        """Return whether every input has as many rows as there are items."""
        parts = [part for _, part in tensors_in(self.inputs)]
        return bool(parts) and all(part.ndim and len(part) == len(self.targets) for part in parts)

    def is_bounded(self) -> bool:
        """Return whether the loss has a lowest value on this batch, by outputs far out; False where it refuses them.

        BCE of targets that lie outside of [0, 1] has none.
        """
        y = self.targets.detach().double()
        direction = torch.where(y > 0.5, 1.0, -1.0)
        if self.outputs.numel() == y.numel():
            direction = direction.reshape(self.outputs.shape)
        else:
            direction = torch.ones_like(self.outputs, dtype=torch.float64)
        for sign in (direction, -direction, torch.ones_like(direction), -torch.ones_like(direction)):
            loss = math.nan
            for far in FAR:
                try:
                    loss = self.loss_of((far * sign).to(self.outputs.dtype)).item()
                except Exception:  # BCE of probabilities
                    return False
                if not math.isnan(loss):
                    break
            if not loss >= -far / FAR[0]:
                return False
        return True

    @property
    def labels(self) -> Tensor:
        """Return the targets of the items that count."""
        return self.targets if self.counts is None else self.targets[self.counts]

    @property
    def probabilities(self) -> Tensor:
        """Return the outputs as float64 probabilities."""
        takes_logits = self.takes != "probabilities" and (self.loss is None or self.loss.takes != "probabilities")
        x = self.outputs.detach().double()
        return torch.sigmoid(x) if takes_logits else x


@contextlib.contextmanager
def trial(user: UserObjects, loss_func: LossFunction) -> Iterator[Trial]:
    """Try copies of the user's objects; everything in the block leaves the random numbers as they were.

    Losses take the reference meanwhile: compiling kernels for a few small calls would take most of the time.

    Raises:
        ValueError: the batch has no inputs and targets.
    """
    with (
        randomness_kept(getattr(user.batch, "generator", None)),
        gradients_kept(user.model, loss_func),
        torch.enable_grad(),
        select.forced("reference"),
        torch.compiler.set_stance("force_eager"),  # whose graph can be read, and differentiated twice
    ):
        inputs, given = copied(unpack(first_batch(user.batch)))
        loss_func = copied_if_possible(loss_func)
        seed()
        model_copy = copied(user.model).train()
        for module in model_copy.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        returned = call(model_copy, inputs)
        targets = targets_of(given, returned)
        if targets is not given:
            loss_func = with_all_targets(loss_func, given, targets)
        path = outputs_path(returned, targets, loss_func)
        outputs, reached = at_path(returned, path), frozenset(reached_by_loss(returned, targets, loss_func))
        tried = Trial(
            user, model_copy, inputs, targets, loss_func, returned, outputs, None, None, path=path, reached=reached
        )
        tried = dataclasses.replace(tried, counts=_counting(tried))
        yield _identified(_read(tried))


def first_batch(batch: Any) -> Any:
    """Return a batch as it is, or the first one of a loader."""
    return batch if isinstance(batch, list | tuple | Mapping) else next(iter(batch))


def forward(model: nn.Module, inputs: Any, like: Trial) -> Tensor:
    """Return the model's outputs."""
    return at_path(call(model, inputs), like.path)


def _read(t: Trial) -> Trial:
    """Add what the graph of the loss says."""
    try:
        outputs = t.outputs.detach().clone().requires_grad_()
        loss = t.loss_of(outputs)
    except Exception:  # outputs that are no numbers, or a loss that fails, which is BCE032
        return t
    if not loss.requires_grad:
        return t
    return dataclasses.replace(t, graph_takes=loss_graph.takes(loss, outputs), squashes=loss_graph.squashes(loss))


def _identified(t: Trial) -> Trial:
    """Identify the loss, by targets 0 and 1 or, if it is not BCE of these, by the batch's own two values.

    These are two values such as -1 and 1, or the least and the greatest where some are outside of [0, 1].
    """
    values = torch.unique(t.labels.detach())
    loss = _fingerprint(t, 0.0, 1.0)
    outside = bool(((values < 0) | (values > 1)).any())
    if not len(values) or not (outside or (len(values) == 2 and values.tolist() != [0, 1])):
        return dataclasses.replace(t, loss=loss)
    low, high = float(values[0]), float(values[-1])
    if loss is not None and loss.takes_classes:
        return dataclasses.replace(t, loss=loss, maps=True)
    in_batch = _fingerprint(t, low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
    if outside and in_batch is not None and in_batch.family == "bce" and _are_shares(in_batch.low, in_batch.high):
        return dataclasses.replace(t, loss=in_batch, maps=True)
    if (loss is None or not loss.is_cross_entropy) and len(values) == 2:
        return dataclasses.replace(t, loss=in_batch, recoded=True)
    return dataclasses.replace(t, loss=loss)


def _are_shares(*targets: float) -> bool:
    return all(-1e-6 <= target <= 1 + 1e-6 for target in targets)


def _fingerprint(t: Trial, low: float, high: float) -> Fingerprint | None:
    """Identify the loss in the batch's form, or with plain outputs where that form is not known."""
    batch = Batch(t.outputs, t.targets, lambda outputs, targets, rows: t.loss_of(outputs, targets, rows))
    forms = batch_forms(batch, low, high)
    loss = _unless_refused(lambda: identified(forms)) if forms else None
    if loss is not None:
        gradient = batch_gradient(batch) if loss.family == "constant" else None
        return loss if gradient is None or not gradient.any() else None
    columns = t.outputs.shape[1] if t.outputs.ndim == 2 and t.outputs.shape[1] > 1 else None
    function = copied_if_possible(t.loss_func)
    loss = _unless_refused(
        lambda: fingerprint(lambda outputs, y: function(outputs, low + (high - low) * y), columns=columns)
    )
    # Plain outputs may be none that this loss is meant for: then it may well be constant in them, or mix them.
    meant = t.outputs.numel() == t.targets.numel()
    return loss if meant or loss is None or loss.family not in ("constant", "cross-talk") else None


def _unless_refused(identify: Callable[[], Fingerprint]) -> Fingerprint | None:
    """Identify a loss; None where it fails in every form."""
    try:
        return identify()
    except (ValueError, RuntimeError):
        return None


def _counting(t: Trial) -> Tensor | None:
    """Return which items count, by whether the loss has a gradient there; None where all have, or that cannot be told.

    A target that is not a probability and has a gradient is a mistake; one without is a label that is missing.
    """
    y = t.targets.detach()
    if not y.is_floating_point() and bool(((y == 0) | (y == 1)).all()):
        return None
    strange = ~((y >= 0) & (y <= 1))
    if not strange.any() or strange.all() or t.outputs.numel() != y.numel():
        return None
    try:
        outputs = t.outputs.detach().clone().requires_grad_()
        (gradients,) = torch.autograd.grad(t.loss_of(outputs), outputs)
    except Exception:  # the loss refuses these targets: then they are a mistake
        return None
    missing = strange & (gradients.reshape(y.shape) == 0)
    return ~missing if bool(missing.any()) and not bool((gradients == 0).all()) else None
