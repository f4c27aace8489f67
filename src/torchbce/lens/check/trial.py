"""Running a copy of somebody's model on a batch, so that nothing of theirs is changed.

That is: weights, gradients, buffers and modes of the model and the loss, the batch's values, and the random numbers.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.lens.check.fingerprint import Fingerprint, LossFunction, fingerprint

# Operations that only hand a value on.
TRANSPARENT = {
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Select",
    "Slice",
    "ToCopy",
    "Alias",
    "Clone",
}
TRANSPARENT |= {"Permute", "Transpose", "T"}


@dataclass(frozen=True)
class Trial:
    """A copy of a model and what it makes of a batch in training mode, without dropout.

    last: the operation that made the outputs, as autograd names it. loss: how the loss function is identified; None
    where it fails on plain outputs.
    """

    model: nn.Module
    inputs: Any
    targets: Tensor
    loss_func: LossFunction
    outputs: Tensor
    last: str
    loss: Fingerprint | None

    def copy(self) -> nn.Module:
        """A model to train or to change."""
        return copy.deepcopy(self.model)

    def gradients(self, model: nn.Module, loss: Tensor) -> None:
        """Set the gradients of the model's parameters, and of no others that the loss may use."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient

    def value(self, model: nn.Module, inputs: Any = None, targets: Tensor | None = None) -> Tensor:
        """The loss of a model, here or on other items; summed where it is not reduced."""
        outputs = forward(model, self.inputs if inputs is None else inputs)
        loss = self.loss_func(outputs, self.targets if targets is None else targets)
        return loss if not isinstance(loss, Tensor) or loss.ndim == 0 else loss.mean()

    @property
    def probabilities(self) -> Tensor:
        """The outputs as float64 probabilities."""
        takes_logits = self.loss is None or self.loss.takes != "probabilities"
        x = self.outputs.detach().double()
        return torch.sigmoid(x) if takes_logits else x


@contextlib.contextmanager
def trial(model: nn.Module, batch: Any, loss_func: LossFunction) -> Iterator[Trial]:
    """Everything inside runs on copies, and leaves the random numbers as they were.

    Raises:
        ValueError: the batch has no inputs and targets.
    """
    devices = range(torch.cuda.device_count()) if _uses_cuda() else ()
    with torch.random.fork_rng(devices=devices), torch.enable_grad(), _kept(getattr(batch, "generator", None)):
        inputs, targets = copy.deepcopy(unpack(batch))
        loss_func = _copied(loss_func)
        seed()
        twin = copy.deepcopy(model).train()
        for module in twin.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        outputs = forward(twin, inputs)
        columns = outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else None
        try:
            loss = fingerprint(_copied(loss_func), columns=columns)
        except (ValueError, RuntimeError):
            loss = None
        yield Trial(twin, inputs, targets, loss_func, outputs, last_operation(outputs), loss)


def seed() -> None:
    """The same random numbers again; CUDA is left alone where it has not been used."""
    torch.default_generator.manual_seed(0)
    if _uses_cuda():
        torch.cuda.manual_seed_all(0)


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _kept(generator: object) -> Iterator[None]:
    """A loader's own generator gets its state back."""
    state = generator.get_state() if isinstance(generator, torch.Generator) else None
    try:
        yield
    finally:
        if isinstance(generator, torch.Generator) and state is not None:
            generator.set_state(state)


def _copied(loss_func: LossFunction) -> LossFunction:
    """A module's own buffers and parameters are copied; a function stays the same."""
    try:
        return copy.deepcopy(loss_func)
    except Exception:  # some things cannot be copied; they are used as they are
        return loss_func


def first_batch(batch: Any) -> Any:
    """A batch as it is, or the first one of a loader."""
    return batch if isinstance(batch, list | tuple | Mapping) else next(iter(batch))


def unpack(batch: Any) -> tuple[Any, Tensor]:
    """Inputs and targets of a batch, or of the first batch of a loader."""
    batch = first_batch(batch)
    if isinstance(batch, Mapping):
        names = [name for name in ("target", "targets", "label", "labels", "y") if name in batch]
        if len(names) != 1:
            raise ValueError(f"a batch has the keys {list(batch)}; one of them must be target, targets, label or y")
        inputs: Any = {name: value for name, value in batch.items() if name != names[0]}
        return inputs, batch[names[0]]
    if len(batch) < 2 or not isinstance(batch[-1], Tensor):
        raise ValueError("a batch is (inputs, targets), or a dict with a key named target")
    return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]


def forward(model: nn.Module, inputs: Any) -> Tensor:
    """The model's outputs."""
    if isinstance(inputs, Mapping):
        outputs = model(**inputs)
    else:
        outputs = model(*inputs) if isinstance(inputs, list | tuple) else model(inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model returns a {type(outputs).__name__}; check takes a model whose outputs are one tensor, "
            "so wrap it in a module that does"
        )
    return outputs


def select(inputs: Any, rows: Tensor) -> Any:
    """Some rows of the inputs."""
    if isinstance(inputs, Mapping):
        return {name: value[rows] if isinstance(value, Tensor) else value for name, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return tuple(value[rows] if isinstance(value, Tensor) else value for value in inputs)
    return inputs[rows]


def last_operation(outputs: Tensor) -> str:
    """Such as "Sigmoid", behind views and copies."""
    node = outputs.grad_fn
    while node is not None:
        name = node.name().split("Backward")[0].lstrip("_")
        if name not in TRANSPARENT:
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""
