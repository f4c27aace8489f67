"""Running a copy of somebody's model on a batch, so that nothing of theirs is changed.

That is: weights, gradients, buffers and modes of the model and the loss, the batch's values, and the random numbers.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.probing.copies import copied, copied_if_possible, gradients_kept, randomness_kept, seed
from torchbce.checks.probing.fingerprint import Fingerprint, LossFunction, fingerprint
from torchbce.common.batch import call, unpack
from torchbce.engine import select

FAR = 1000.0  # a logit
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


Step = Callable[[nn.Module, Any, torch.optim.Optimizer], object]


@dataclass(frozen=True)
class Own:
    """What the user gave, to be looked at only."""

    model: nn.Module
    batch: Any
    optimizer: torch.optim.Optimizer | None = None
    step: Step | None = None
    valid: Any = None


@dataclass(frozen=True)
class Trial:
    """A copy of a model and what it makes of a batch in training mode, without dropout.

    Attributes:
        own: the user's own objects.
        returned, outputs: what the model returns, and the tensor in it that is compared with the targets.
        counts: which items count, as a loss may leave some out; None where that cannot be told.
        loss: how the loss function is identified; None where it fails on plain outputs.
        recoded: identified by the batch's own two values of targets, as it is not BCE of 0 and 1.
    """

    own: Own
    model: nn.Module
    inputs: Any
    targets: Tensor
    loss_func: LossFunction
    returned: Any
    outputs: Tensor
    counts: Tensor | None
    loss: Fingerprint | None
    recoded: bool

    def copy(self) -> nn.Module:
        """A model to train or to change."""
        return copied(self.model)

    def gradients(self, model: nn.Module, loss: Tensor) -> None:
        """Set the gradients of the model's parameters."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        try:
            found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        except RuntimeError as error:
            if "checkpoint" not in str(error).lower():
                raise
            for parameter in parameters:  # reentrant checkpoints know backward alone
                parameter.grad = None
            loss.backward()  # type: ignore[no-untyped-call]
            return
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient

    def value(self, model: nn.Module, inputs: Any = None, targets: Tensor | None = None) -> Tensor:
        """The loss of a model, here or on other items; its mean where it is not reduced."""
        returned = call(model, self.inputs if inputs is None else inputs)
        loss = self.loss_func(returned, self.targets if targets is None else targets)
        return loss if not isinstance(loss, Tensor) or loss.ndim == 0 else loss.mean()

    def loss_of(self, outputs: Tensor, targets: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """The loss of other outputs in place of the model's, of all items or some; summed where it is not reduced."""
        returned = _replaced(self.returned, self.outputs, outputs, rows)
        loss = self.loss_func(returned, self.targets if targets is None else targets)
        return loss if loss.ndim == 0 else loss.sum()

    @property
    def reduces(self) -> bool:
        """Whether the loss is one number."""
        return self.loss_func(self.returned, self.targets).ndim == 0

    @property
    def can_be_cut(self) -> bool:
        """Whether every input has as many rows as there are items."""
        parts = [part for _, part in tensors_in(self.inputs)]
        return bool(parts) and all(part.ndim and len(part) == len(self.targets) for part in parts)

    def is_bounded(self) -> bool:
        """Whether the loss of this batch has a lowest value, seen from outputs far out; False where it refuses them.

        BCE of targets that lie outside of [0, 1] has none.
        """
        y = self.targets.detach().double()
        direction = torch.where(y > 0.5, 1.0, -1.0)
        if self.outputs.numel() == y.numel():
            direction = direction.reshape(self.outputs.shape)
        else:
            direction = torch.ones_like(self.outputs, dtype=torch.float64)
        for sign in (direction, -direction, torch.ones_like(direction), -torch.ones_like(direction)):
            try:
                loss = self.loss_of((FAR * sign).to(self.outputs.dtype))
            except Exception:  # BCE of probabilities
                return False
            if not loss >= -1.0:
                return False
        return True

    @property
    def labels(self) -> Tensor:
        """The targets of the items that count."""
        return self.targets if self.counts is None else self.targets[self.counts]

    @property
    def probabilities(self) -> Tensor:
        """The outputs as float64 probabilities."""
        takes_logits = self.loss is None or self.loss.takes != "probabilities"
        x = self.outputs.detach().double()
        return torch.sigmoid(x) if takes_logits else x


@contextlib.contextmanager
def trial(own: Own, loss_func: LossFunction) -> Iterator[Trial]:
    """Everything inside runs on copies, and leaves the random numbers as they were.

    Losses take the reference meanwhile: compiling kernels for a few small calls would take most of the time.

    Raises:
        ValueError: the batch has no inputs and targets.
    """
    with (
        randomness_kept(getattr(own.batch, "generator", None)),
        gradients_kept(own.model, loss_func),
        torch.enable_grad(),
        select.forced("reference"),
    ):
        inputs, given = copied(unpack(first_batch(own.batch)))
        loss_func = copied_if_possible(loss_func)
        seed()
        twin = copied(own.model).train()
        for module in twin.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        returned = call(twin, inputs)
        targets = _targets(given, returned)
        if targets is not given:
            loss_func = _with_all_targets(loss_func, given, targets)
        outputs = _outputs(returned, targets)
        loss, recoded = _identified(loss_func, outputs, targets)
        found = Trial(own, twin, inputs, targets, loss_func, returned, outputs, None, loss, recoded)
        yield dataclasses.replace(found, counts=_counting(found))


def first_batch(batch: Any) -> Any:
    """A batch as it is, or the first one of a loader."""
    return batch if isinstance(batch, list | tuple | Mapping) else next(iter(batch))


def forward(model: nn.Module, inputs: Any, like: Trial) -> Tensor:
    """The model's outputs."""
    return _outputs(call(model, inputs), like.targets)


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in what a model takes or returns, each with a name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_in(part, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from tensors_in(part, f"{name}[{place}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name), f"{name}.{field.name}")


def take_rows(inputs: Any, rows: Tensor) -> Any:
    """Some rows of the inputs; what has another length than the batch is taken whole."""
    sizes = [len(tensor) for _, tensor in tensors_in(inputs) if tensor.ndim]
    return _rows(inputs, rows, max(set(sizes), key=sizes.count)) if sizes else inputs


def _rows(value: Any, rows: Tensor, length: int) -> Any:
    if isinstance(value, Tensor):
        return value[rows] if value.ndim and len(value) == length else value
    if isinstance(value, Mapping):
        return {name: _rows(part, rows, length) for name, part in value.items()}
    return tuple(_rows(part, rows, length) for part in value) if isinstance(value, list | tuple) else value


def _targets(given: Any, returned: Any) -> Tensor:
    """The targets themselves; of several things that a loss takes as such, the one of an output's size."""
    if isinstance(given, Tensor):
        return given
    found = [tensor for _, tensor in tensors_in(given)]
    sizes = {tensor.numel() for _, tensor in tensors_in(returned)}
    fitting = [tensor for tensor in found if tensor.numel() in sizes] or found
    if not fitting:
        what = type(given).__name__
        raise ValueError(
            f"the targets of the batch are a {what}; they must be a Tensor: write torch.as_tensor(targets)"
        )
    return fitting[0]


def _with_all_targets(loss_func: LossFunction, given: Any, main: Tensor) -> LossFunction:
    """The loss as a function of the main one of the targets that it takes."""

    def of_one(outputs: Any, targets: Tensor) -> Tensor:
        if targets.shape != main.shape:
            raise ValueError("the loss takes more than targets, which is not known for other items")
        return loss_func(outputs, _replaced(given, main, targets, None))

    return of_one


def _outputs(returned: Any, targets: Tensor) -> Tensor:
    """The tensor that is compared with the targets: the only one, or the first of their size that has a gradient."""
    tensors = [tensor for _, tensor in tensors_in(returned)]
    found = [tensor for tensor in tensors if tensor.is_floating_point()] or tensors
    of_size = [tensor for tensor in found if tensor.numel() == targets.numel()]
    trained = [tensor for tensor in of_size or found if tensor.requires_grad]
    chosen = trained or of_size or found
    if not chosen:
        raise ValueError(
            f"the model returns a {type(returned).__name__} without a tensor; check takes a model whose outputs are a "
            "tensor, or a tuple, dict or dataclass with one: otherwise wrap it in a module that returns one"
        )
    return chosen[0]


def _replaced(value: Any, old: Tensor, new: Tensor, rows: Tensor | None) -> Any:
    """What a model returned, with another tensor in place of its outputs, and these rows of the others."""
    if value is old:
        return new
    if isinstance(value, Tensor):
        return value if rows is None else _rows(value, rows, len(old))
    if isinstance(value, Mapping):
        parts = {name: _replaced(part, old, new, rows) for name, part in value.items()}
        return parts if type(value) is dict else _like(value, parts)
    if isinstance(value, tuple | list):
        rest = [_replaced(part, old, new, rows) for part in value]
        return type(value)(*rest) if hasattr(value, "_fields") else type(value)(rest)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _replaced(getattr(value, f.name), old, new, rows) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _like(value: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    twin = copy.copy(value)
    for name, part in parts.items():
        twin[name] = part  # type: ignore[index]
    return twin


def _identified(loss_func: LossFunction, outputs: Tensor, targets: Tensor) -> tuple[Fingerprint | None, bool]:
    """As a loss of targets 0 and 1, or, if it is not BCE of these, of the batch's own two values, such as -1 and 1."""
    columns = outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else None

    def of(function: LossFunction) -> Fingerprint | None:
        try:
            return fingerprint(copied_if_possible(function), columns=columns)
        except (ValueError, RuntimeError):
            return None

    found = of(loss_func)
    values = torch.unique(targets.detach())
    if (found is None or not found.is_cross_entropy) and len(values) == 2 and values.tolist() != [0, 1]:
        low, high = values.tolist()
        return of(lambda outputs, y: loss_func(outputs, low + (high - low) * y)), True
    return found, False


def _counting(t: Trial) -> Tensor | None:
    """Which items count, by whether the loss has a gradient there; None where all have, or that cannot be told.

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
