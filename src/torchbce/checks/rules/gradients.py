"""What reaches the parameters, and what the outputs depend on: BCE015, BCE016, BCE017, BCE019."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.findings import Finding, Level, fail, finding, not_applicable, passed, warn
from torchbce.checks.probing.trial import Trial, forward, take_rows, tensors_in
from torchbce.checks.rule import rule
from torchbce.common.batch import swallowed_by

DRAWS = 24  # of what is random in a model, of its weights and of its inputs, for a layer that is used at times


@rule("BCE015", "input-ignored", "outputs depend on the inputs", on="model", explains=("BCE013", "BCE016"))
def input_ignored(t: Trial) -> Finding:
    """BCE015: all inputs together, then each of several."""
    if t.outputs.ndim == 0 or t.outputs.shape[0] < 2:
        return not_applicable("one item only")
    parts = dict(tensors_in(t.inputs, "inputs"))
    swallowed = {f"inputs[{name!r}]" for name in swallowed_by(t.model, t.inputs)}  # by **rest, on purpose
    of_items = {n: p for n, p in parts.items() if n not in swallowed and p.ndim and len(p) == len(t.targets)}
    varying = [name for name, part in of_items.items() if _varies(part)]
    if not varying:
        return passed()
    ignored = _ignored(t.copy().eval(), t, varying)
    if ignored:
        model = t.copy().eval()
        _take_steps(model, t)  # a last layer may start at 0 on purpose
        ignored = [name for name in ignored if name in _ignored(model, t, varying)]
    if not ignored:
        return passed()
    if None in ignored:
        return fail(
            "the outputs stay the same whatever the inputs are: only the base rate can be learned",
            "look for a wrong slice, a layer whose outputs are all 0, or inputs that are not passed on",
            {"output": t.outputs.detach().flatten()[0].item()},
        )
    names = ", ".join(str(name) for name in ignored)
    # A mask may have nothing to add to the padding that it marks.
    masks = all(
        len(torch.unique(parts[str(name)])) <= 2 and not parts[str(name)].is_floating_point() for name in ignored
    )
    return finding(
        Level.TIP if masks else Level.WARN,
        f"the outputs stay the same whatever {names} {'is' if len(ignored) == 1 else 'are'}: nothing is learned "
        "from it",
        "look at forward() for an argument that is not used, or leave it out of the batch",
        {"inputs": ignored},
    )


def _ignored(model: nn.Module, t: Trial, names: list[str]) -> list[str | None]:
    """Inputs that may be exchanged between the items; None for all of them together."""
    with torch.no_grad():
        outputs = forward(model, t.inputs, t)
        rolled = torch.arange(len(t.targets)).roll(1)
        if torch.equal(outputs, forward(model, take_rows(t.inputs, rolled), t)):
            return [None]
        if len(names) < 2:
            return []
        others = take_rows(t.inputs, rolled)
        return [n for n in names if torch.equal(outputs, forward(model, _exchanged(t.inputs, others, n, "inputs"), t))]


def _exchanged(inputs: Any, others: Any, wanted: str, name: str) -> Any:
    """The inputs with one of their tensors taken from the others."""
    if name == wanted:
        return others
    if isinstance(inputs, Mapping):
        return {key: _exchanged(part, others[key], wanted, f"{name}[{key!r}]") for key, part in inputs.items()}
    if isinstance(inputs, list | tuple):
        return tuple(_exchanged(part, others[i], wanted, f"{name}[{i}]") for i, part in enumerate(inputs))
    return inputs


def _take_steps(model: nn.Module, t: Trial) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters or not t.value(model).requires_grad:
        return
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(3):
        t.gradients(model, t.value(model))
        optimizer.step()


@rule("BCE016", "dead-gradient", "every parameter gets a gradient", on="model", explains=("BCE013",))
def dead_gradient(t: Trial) -> Finding:
    """BCE016: on the batch and after a step, as a layer may be 0 at the start on purpose; then with other draws of what
    is random, and with other weights, as a layer may be used for some items only.
    """
    model = t.copy()
    if not any(p.requires_grad for p in model.parameters()):
        return fail("no parameter requires grad", "model.requires_grad_(True)")
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    seen: dict[str, float] = {}
    for draw in range(DRAWS):
        torch.manual_seed(draw)
        step.zero_grad()
        loss = t.value(model)
        if not loss.requires_grad:
            return fail(
                "the loss has no gradient at all",
                "look for detach(), .data, no_grad() or .item() between the model and the loss",
            )
        t.gradients(model, loss)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                size = -1.0 if parameter.grad is None else parameter.grad.abs().max().item()
                seen[name] = max(seen.get(name, -1.0), size)
        if min(seen.values()) > 0:
            return passed()
        if draw == 0:
            step.step()
        else:
            _shake(model)  # further each time
    return _unreached(seen)


def _unreached(seen: dict[str, float]) -> Finding:
    missing = [name for name, size in seen.items() if size < 0]
    if missing:
        return finding(
            Level.FAIL if len(missing) == len(seen) else Level.WARN,
            f"{len(missing)} of {len(seen)} parameters get no gradient: {_some(missing)}",
            "use these layers, or freeze them: requires_grad_(False); look for detach() and no_grad()",
            {"parameters": missing},
        )
    zero = [name for name, size in seen.items() if size == 0]
    return warn(
        f"{len(zero)} of {len(seen)} parameters have a gradient of exactly 0, also after a step: {_some(zero)}",
        "look for units that are 0 for all inputs (a dead ReLU), and outputs that are saturated",
        {"parameters": zero},
    )


def _shake(model: nn.Module) -> None:
    """Move each weight by as much as the weights of its layer differ: a router sends its items elsewhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.numel() > 1 and parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter) * parameter.std())


@rule("BCE017", "optimizer-coverage", "the optimizer has every parameter", on="model")
def optimizer_coverage(t: Trial) -> Finding:
    """BCE017: on the user's own objects, which are only looked at."""
    model, optimizer, hidden = t.own.model, t.own.optimizer, _unregistered(t)
    if hidden:
        return fail(
            f"model.parameters() does not know the layers in {_some(hidden)}, which the outputs depend on: they are "
            "never trained, moved or saved",
            "nn.ModuleList(...) or nn.ModuleDict(...) in place of the list or dict",
            {"attributes": hidden},
        )
    if optimizer is None:
        return not_applicable("needs the optimizer")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    left = [name for name, p in trainable.items() if id(p) not in held]
    if left:
        return fail(
            f"the optimizer does not have {len(left)} of {len(trainable)} parameters: {_some(left)}",
            "optimizer = torch.optim.Adam(model.parameters())  # after the model is complete",
            {"parameters": left},
        )
    # A schedule that starts at 0 keeps the rate that it will come to.
    if all(float(group["lr"]) == 0 and not float(group.get("initial_lr", 0)) for group in optimizer.param_groups):
        return fail("the learning rate is 0", "lr=0.001, or check the schedule")
    return passed()


def _unregistered(t: Trial) -> list[str]:
    """Attributes with layers in plain lists and dicts that the loss depends on."""
    known = {id(p) for p in t.model.parameters()}
    found = {}
    for name, module in t.model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_"):
                parameters = [p for p in _parameters_in(value) if p.requires_grad and id(p) not in known]
                if parameters:
                    found[f"{name}.{attribute}".lstrip(".")] = parameters
    if not found or not t.outputs.requires_grad:
        return []
    everything = [p for parameters in found.values() for p in parameters]
    try:
        gradients = torch.autograd.grad(t.outputs.sum(), everything, allow_unused=True, retain_graph=True)
    except RuntimeError:  # reentrant checkpoints
        return []
    used = {id(p) for p, gradient in zip(everything, gradients, strict=True) if gradient is not None}
    return [name for name, parameters in found.items() if any(id(p) in used for p in parameters)]


def _parameters_in(value: object) -> Iterator[nn.Parameter]:
    if isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | Mapping):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _parameters_in(part)


@rule("BCE019", "batch-mixing", "in evaluation an item does not depend on the others", on="model", explains=("BCE013",))
def batch_mixing(t: Trial) -> Finding:
    """BCE019: in evaluation, when BatchNorm too treats items alone."""
    if t.outputs.ndim == 0 or len(t.outputs) != len(t.targets) or not t.can_be_cut:
        return not_applicable("inputs or outputs are not one per item")
    model = t.copy().eval()
    with torch.no_grad():
        first, second = forward(model, t.inputs, t), forward(model, t.inputs, t)
        if not torch.equal(first, second):
            return warn(
                "in eval() two passes over the same batch differ",
                "F.dropout(x, training=self.training); no random numbers in evaluation",
            )
        rows = torch.arange(len(first)).chunk(2)  # with its first half gone, what an item takes from earlier ones shows
        alone = torch.cat([forward(model, take_rows(t.inputs, half), t) for half in rows])
    error = (alone - first).abs().max().item()
    size = first.abs().max().item() + 1e-6
    if error > 1e-3 * size:
        return warn(
            f"in eval() an item's output changes with the other items of its batch, by up to {error:.3g}",
            "model.eval() must reach every layer; no statistics of the batch, no wrong dimension in softmax or reshape",
            {"change": error},
        )
    return passed()


def _varies(part: Tensor) -> bool:
    return not bool((part == part[:1]).all())


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
