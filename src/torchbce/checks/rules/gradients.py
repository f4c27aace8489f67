"""What reaches the parameters, and which of them the optimizer has: BCE016 and BCE017."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, outcome, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.by_design import last_is_not_trained
from torchbce.checks.probing.copies import seed
from torchbce.checks.probing.graph import name_of, nodes_from
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rules.targets import is_binary
from torchbce.common.batch import call

CHECKPOINT = "CheckpointFunction"
ROUNDING = 1e-5  # times the usual gradient
DRAWS = 24  # of what is random in a model, of its weights and of its inputs, for a layer that is used at times


@rule("BCE016", "dead-gradient", "every parameter gets a gradient", target="model", explains=("BCE013",))
def dead_gradient(t: Trial) -> Outcome:
    """BCE016: on the batch and after a step, as a layer may be 0 at the start on purpose; then with other draws of what
    is random, and with other weights, as a layer may be used for some items only.
    """
    model = t.copy()
    if not any(p.requires_grad for p in model.parameters()):
        return fail("no parameter requires grad", "model.requires_grad_(True)")
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wanted, seen = _to_train(t), dict[str, float]()
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
            if parameter.requires_grad and name in wanted:
                size = -1.0 if parameter.grad is None else parameter.grad.abs().max().item()
                seen[name] = max(seen.get(name, -1.0), size)
        if min(seen.values()) > 0:
            return _without_effect(t, seen)
        if draw == 0:
            step.step()
        else:
            _shake(model)  # further each time
    return _unreached(t, seen)


def _to_train(t: Trial) -> set[str]:
    """The names of the parameters that are looked at: those that the optimizer has, which is BCE017's business."""
    names = {name for name, p in t.user.model.named_parameters() if p.requires_grad}
    if t.user.optimizer is None:
        return names
    held = {id(p) for group in t.user.optimizer.param_groups for p in group["params"]}
    return {name for name, p in t.user.model.named_parameters() if name in names and id(p) in held} or names


def _unreached(t: Trial, seen: dict[str, float]) -> Outcome:
    missing = [name for name, size in seen.items() if size < 0]
    if missing:
        return outcome(
            Level.FAIL if len(missing) == len(seen) else Level.WARN,
            f"{len(missing)} of {len(seen)} parameters get no gradient: {_some(missing)}",
            "use these layers, or freeze them: requires_grad_(False); look for detach() and no_grad()",
            {"parameters": missing},
        )
    zero = [name for name, size in seen.items() if size == 0]
    zero = [name for name in zero if not _cancels(t, name, seen) and not _only_padding(t, name)]
    if not zero:
        return passed("biases that cancel, or rows of padding, have no gradient, and need none")
    return warn(
        f"{len(zero)} of {len(seen)} parameters have a gradient of exactly 0, also after a step: {_some(zero)}",
        "look for units that are 0 for all inputs (a dead ReLU), and outputs that are saturated",
        {"parameters": zero},
    )


def _without_effect(t: Trial, seen: dict[str, float]) -> Outcome:
    """Find weights with no gradient but rounding errors, as of scores that are equal in a softmax."""
    usual = sorted(seen.values())[len(seen) // 2]
    small = [name for name, size in seen.items() if size < ROUNDING * usual and "bias" not in name]
    idle = [name for name in small if _moves_nothing(t, name)]
    if not idle:
        return passed()
    return warn(
        f"{len(idle)} of {len(seen)} parameters do not matter, whatever they are: {_some(idle)}",
        "look for scores that are equal before a softmax, and for what is subtracted from itself",
        {"parameters": idle},
    )


def _moves_nothing(t: Trial, name: str) -> bool:
    """Return whether no value of a parameter moves the loss, whatever the others are, as experts have items."""
    model = t.copy()
    with torch.no_grad():
        for draw in range(DRAWS // 2):
            seed()
            before = t.value(model)
            parameter = model.get_parameter(name)
            parameter.add_((10.0 if draw % 2 else 1.0) * torch.randn_like(parameter))
            seed()
            if not torch.allclose(t.value(model), before, rtol=1e-4, atol=1e-6):
                return False
            torch.manual_seed(draw)
            _shake(model)
    return True


def _cancels(t: Trial, name: str, seen: dict[str, float]) -> bool:
    """Return whether this is the bias of a trained layer and no value of it moves the loss, as before BatchNorm."""
    layer, _, last = name.rpartition(".")
    if "bias" not in last or not any(size > 0 for other, size in seen.items() if other.rpartition(".")[0] == layer):
        return False
    return _moves_nothing(t, name)


def _only_padding(t: Trial, name: str) -> bool:
    """Return whether this is the table of an embedding that was asked for nothing but padding."""
    model = t.copy()
    layer = model.get_submodule(name.rpartition(".")[0])
    padding = getattr(layer, "padding_idx", None)
    if not isinstance(layer, nn.Embedding | nn.EmbeddingBag) or padding is None:
        return False
    asked: list[bool] = []
    layer.register_forward_pre_hook(lambda _, given: asked.append(bool((given[0] == padding).all())))
    with torch.no_grad():
        call(model, t.inputs)
    return bool(asked) and all(asked)


def _shake(model: nn.Module) -> None:
    """Move each weight by as much as the weights of its layer differ: a router sends its items elsewhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.numel() > 1 and parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter) * parameter.std())


@rule("BCE017", "optimizer-coverage", "the optimizer has every parameter", target="model")
def optimizer_coverage(t: Trial) -> Outcome:
    """BCE017: on the user's own objects, which are only looked at."""
    model, optimizer, hidden = t.user.model, t.user.optimizer, _unregistered(t)
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
    if left and _left_to_another(t, left):
        return passed("the parameters that the optimizer does not have are not trained here")
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


def _left_to_another(t: Trial, left: list[str]) -> bool:
    """Return whether parameters that no optimizer has are an adversary's, or get no gradient anyway."""
    parameters = dict(t.model.named_parameters())
    if len(left) < len(parameters) and not any(name in _in_the_graph(t) for name in left):
        return True
    one_class = is_binary(t.labels) and bool((t.labels == 1).all())
    return one_class and last_is_not_trained(t)


def _in_the_graph(t: Trial) -> set[str]:
    """The parameters that the loss depends on, by name."""
    names = {id(p): name for name, p in t.model.named_parameters()}
    try:
        loss = t.loss_func(t.returned, t.targets)
    except Exception:  # which is BCE032
        return set(names.values())
    nodes = list(nodes_from(getattr(loss, "grad_fn", None)))  # a loss may be a plain number
    if any(name_of(node).startswith(CHECKPOINT) for node in nodes):  # which hides what is inside
        return set(names.values())
    return {names[id(node.variable)] for node in nodes if id(getattr(node, "variable", None)) in names}


def _unregistered(t: Trial) -> list[str]:
    """Return the attributes with layers in plain lists and dicts that the loss depends on."""
    known = {id(p) for p in t.model.parameters()}
    layers = {}
    for name, module in t.model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_"):
                parameters = [p for p in _parameters_in(value) if p.requires_grad and id(p) not in known]
                if parameters:
                    layers[f"{name}.{attribute}".lstrip(".")] = parameters
    if not layers or not t.outputs.requires_grad:
        return []
    everything = [p for parameters in layers.values() for p in parameters]
    try:
        gradients = torch.autograd.grad(t.outputs.sum(), everything, allow_unused=True, retain_graph=True)
    except RuntimeError:  # reentrant checkpoints
        return []
    used = {id(p) for p, gradient in zip(everything, gradients, strict=True) if gradient is not None}
    return [name for name, parameters in layers.items() if any(id(p) in used for p in parameters)]


def _parameters_in(value: object) -> Iterator[nn.Parameter]:
    if isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | Mapping):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _parameters_in(part)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
