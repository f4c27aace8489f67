"""`fit` of a perceptron in compiled code, where module, loss, optimiser and data are the usual ones.

The same rows in the same order, the same losses and the same weights, to rounding, as by autograd and torch's
optimiser, whose state is written back at the end. Whatever is not listed here is trained by torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torchbce.engine.torch_internals import has_hooks
from torchbce.fitting.batches import Batches, TensorBatches
from torchbce.losses.bce import BCE
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS

if TYPE_CHECKING:
    from torchbce.formula.loss import Loss

ACTIVATIONS = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.SiLU: "silu"}
LOSSES = {"BCELoss": BCE, "BCEWithLogitsLoss": BCE_WITH_LOGITS}
DEFAULTS = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
OPTIMIZERS: dict[type, dict[str, Any]] = {
    torch.optim.SGD: DEFAULTS | {"momentum": 0, "dampening": 0, "nesterov": False},
    torch.optim.Adam: DEFAULTS | {"amsgrad": False, "capturable": False, "weight_decay": 0},
    torch.optim.AdamW: DEFAULTS | {"amsgrad": False, "capturable": False},
}
STEP_SECONDS, ROW_SECONDS = 3e-4, 5e-7  # seconds that torch takes for a step, and for a row of a small network
LEAST_SECONDS = 1.0  # of torch's time: less is not worth compiling
STEPS_PER_CALL = 2048  # between calls, Ctrl-C is seen


@dataclass(frozen=True)
class Perceptron:
    """Linear layers, the activation after each but the last, and whether a sigmoid ends it."""

    linear: list[nn.Linear]
    activations: list[str]
    sigmoid: bool


def perceptron_of(module: nn.Module) -> Perceptron | None:
    """Return the layers of an `nn.Sequential` of linear layers with biases, activations between, and one output."""
    if type(module) is not nn.Sequential:
        return None
    layers = list(module)
    sigmoid = bool(layers) and type(layers[-1]) is nn.Sigmoid
    layers = layers[:-1] if sigmoid else layers
    linear, between = layers[::2], layers[1::2]
    if not linear or len(linear) != len(between) + 1 or not all(type(layer) is nn.Linear for layer in linear):
        return None
    known = [layer for layer in linear if isinstance(layer, nn.Linear)]
    parameters = list(module.parameters())
    is_supported = (
        all(type(layer) in ACTIVATIONS for layer in between)
        and all(layer.bias is not None for layer in known)
        and known[-1].out_features == 1
        and all(a.out_features == b.in_features for a, b in itertools.pairwise(known))
        and len({id(layer) for layer in known}) == len(known)
        and len(parameters) == 2 * len(known)
        and all(type(p) is nn.Parameter and p.dtype == torch.float32 and p.is_cpu for p in parameters)
        and all(p.requires_grad and p.layout == torch.strided for p in parameters)
        and not any(has_hooks(part) for part in module.modules())
    )
    names = [ACTIVATIONS[type(layer)] for layer in between if type(layer) in ACTIVATIONS]
    return Perceptron(known, names, sigmoid) if is_supported else None


def loss_of(loss_func: Any) -> Loss | None:
    """Return the formula of a mean loss without options."""
    kind = type(loss_func)
    if kind.__module__.partition(".")[0] not in ("torch", "torchbce") or kind.__name__ not in LOSSES:
        return None
    shown = loss_func.extra_repr() if hasattr(loss_func, "extra_repr") else ""
    plain = loss_func.reduction == "mean" and shown in ("", "reduction='mean'")
    plain = plain and all(getattr(loss_func, name, None) is None for name in ("weight", "pos_weight"))
    return LOSSES[kind.__name__] if plain else None


def has_default_options(optimizer: torch.optim.Optimizer, module: nn.Module) -> bool:
    """Return whether it is SGD, Adam or AdamW with default options, unused, over all of the module's parameters."""
    expected = OPTIMIZERS.get(type(optimizer))
    if expected is None or len(optimizer.param_groups) != 1 or optimizer.state or has_hooks(optimizer):
        return False
    group = optimizer.param_groups[0]
    own = [id(parameter) for parameter in module.parameters()]
    numbers = all(not isinstance(group.get(name, 0), Tensor) for name in ("lr", "weight_decay"))
    return (
        numbers
        and [id(p) for p in group["params"]] == own
        and all(group.get(name, value) in (value, None) for name, value in expected.items())
    )


class CompiledTraining:
    """Epochs of a module's training; leaving it gives the parameters and the optimiser back as torch has them."""

    def __init__(
        self,
        module: nn.Module,
        perceptron: Perceptron,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        batches: TensorBatches,
    ) -> None:
        from torchbce.perceptron.flat_parameters import flattened
        from torchbce.perceptron.layers import Dense, Layers
        from torchbce.perceptron.rows import rows_of_numbers
        from torchbce.perceptron.trainer import CompiledTrainer, Optimizer

        self._module, self._optimizer, self._batches = module, optimizer, batches
        group = optimizer.param_groups[0]
        adam = not isinstance(optimizer, torch.optim.SGD)
        beta1, beta2 = group.get("betas", (0.9, 0.999))
        *hidden, last = perceptron.linear
        self._parameters = flattened(module)
        layers = Layers(
            parameters=self._parameters,
            numeric=perceptron.linear[0].in_features,
            output_weight=last.weight.data,
            output_bias=last.bias.data,
            hidden=[
                Dense(layer.weight.data, layer.bias.data, name)
                for layer, name in zip(hidden, perceptron.activations, strict=True)
            ],
            sigmoid=perceptron.sigmoid,
        )
        kind = Optimizer("adamw" if adam else "sgd", group["weight_decay"], beta1, beta2, group.get("eps", 1e-8))
        self._trainer = CompiledTrainer(layers, loss, kind, batch=batches.batch_size)
        inputs, target = batches.tensors
        self._rows = rows_of_numbers(inputs, target.reshape(-1))

    @property
    def target(self) -> Tensor:
        return self._rows.target

    def epoch(self, total: float = 0.0) -> Iterator[float]:
        """Train on the rest of an epoch; yield, after each call, `total` plus the losses so far."""
        from torchbce.perceptron.trainer import one_blas_thread

        batches = self._batches
        batches.begin_epoch()
        order = torch.randperm(batches.rows).to(torch.int32)
        rate = float(self._optimizer.param_groups[0]["lr"])
        self._module.train()
        while batches.done < len(batches):
            first, last = batches.done, min(batches.done + STEPS_PER_CALL, len(batches))
            rates = torch.full((last - first,), rate, dtype=torch.float64)
            with one_blas_thread():
                rows = order[first * batches.batch_size : last * batches.batch_size]
                total = self._trainer.train(self._rows, rows, rates, total)
            batches.done = last
            yield total

    def write_optimizer_state(self) -> None:
        """Write Adam's moments to torch's optimizer."""
        if isinstance(self._optimizer, torch.optim.SGD) or not self._trainer.steps:
            return
        for parameter, first, second in self._moments():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self._trainer.steps)),
                "exp_avg": first.clone(),
                "exp_avg_sq": second.clone(),
            }

    def read_optimizer_state(self) -> None:
        """Read Adam's moments from torch's optimizer."""
        for parameter, first, second in self._moments():
            state = self._optimizer.state.get(parameter, {})
            if "exp_avg" in state:
                if not state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape:
                    raise ValueError(f"a moment is {tuple(state['exp_avg'].shape)}, expected {tuple(parameter.shape)}")
                first.copy_(state["exp_avg"])
                second.copy_(state["exp_avg_sq"])
                self._trainer.steps = int(state["step"])

    def _moments(self) -> Iterator[tuple[nn.Parameter, Tensor, Tensor]]:
        """Each parameter with views of its two moments."""
        offset = 0
        for parameter in self._module.parameters():
            first, second = (
                moment[offset : offset + parameter.numel()].view_as(parameter) for moment in self._trainer.moments
            )
            yield parameter, first, second
            offset += parameter.numel()

    def __enter__(self) -> CompiledTraining:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the parameters memory of their own, and the optimizer its state."""
        for parameter in self._module.parameters():
            parameter.data = parameter.data.clone()
        self.write_optimizer_state()


def compiled_training(
    module: nn.Module,
    loss_func: Any,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    epochs: int,
    was_compiled: bool | None = None,
) -> CompiledTraining | None:
    """Return the compiled training of these, if it computes the same and there is enough work.

    The first use on a machine compiles for some seconds. Whether it is used depends on the sizes alone, so that the
    same call gives the same bits each time. was_compiled: of a run that goes on, whether it was trained so.
    """
    if not isinstance(batches, TensorBatches):
        return None
    if not (epochs * _epoch_seconds(batches) >= LEAST_SECONDS if was_compiled is None else was_compiled):
        return None
    perceptron, loss = perceptron_of(module), loss_of(loss_func)
    if (
        perceptron is None
        or loss is None
        or perceptron.sigmoid != (loss is BCE)
        or not has_default_options(optimizer, module)
    ):
        return None
    if len(batches.tensors) != 2:
        return None
    inputs, target = batches.tensors
    is_ready = (
        all(type(part) is Tensor and part.dtype == torch.float32 and part.is_cpu for part in (inputs, target))
        and all(part.is_contiguous() and not part.requires_grad for part in (inputs, target))
        and inputs.shape == (batches.rows, perceptron.linear[0].in_features)
        and target.shape == (batches.rows, 1)
        and bool(((target >= 0) & (target <= 1)).all())
        and not torch.is_autocast_enabled("cpu")
    )
    if not is_ready or not _available():
        return None
    return CompiledTraining(module, perceptron, loss, optimizer, batches)


def _epoch_seconds(batches: TensorBatches) -> float:
    """Estimate the seconds that torch takes for an epoch."""
    return STEP_SECONDS * len(batches) + ROW_SECONDS * batches.rows


def _available() -> bool:
    from torchbce.perceptron.trainer import available

    return available()
