"""What the outputs depend on: the inputs, and no other items: BCE015 and BCE019."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, outcome, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.by_design import one_class_by_design
from torchbce.checks.probing.copies import copied, seed
from torchbce.checks.probing.parts import take_rows, tensors_in
from torchbce.checks.probing.trial import Trial, forward
from torchbce.checks.rules.targets import is_binary
from torchbce.common.batch import call, swallowed_by

ROUNDINGS = 8


@rule("BCE015", "input-ignored", "outputs depend on the inputs", target="model", explains=("BCE013", "BCE016"))
def input_ignored(t: Trial) -> Outcome:
    """BCE015: all inputs together, then each of several."""
    if t.outputs.ndim == 0 or t.outputs.shape[0] < 2:
        return not_applicable("one item only")
    parts = dict(tensors_in(t.inputs, "inputs"))
    swallowed = {f"inputs[{name!r}]" for name in swallowed_by(t.model, t.inputs)}  # by **rest, on purpose
    of_items = {n: p for n, p in parts.items() if n not in swallowed and p.ndim and len(p) == len(t.targets)}
    varying = [name for name, part in of_items.items() if _varies(part)]
    if not varying:
        return passed()
    model = t.copy()
    ignored = _ignored_in_both(model, t, varying)
    if ignored:
        _take_steps(model, t)  # a last layer may start at 0 on purpose
        ignored = [name for name in ignored if name in _ignored_in_both(model, t, varying)]
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
    return outcome(
        Level.TIP if masks else Level.WARN,
        f"the outputs stay the same whatever {names} {'is' if len(ignored) == 1 else 'are'}: nothing is learned "
        "from it",
        "look at forward() for an argument that is not used, or leave it out of the batch",
        {"inputs": ignored},
    )


def _ignored_in_both(model: nn.Module, t: Trial, names: list[str]) -> list[str | None]:
    """Return the inputs ignored in both modes: a new network with BatchNorm may be alive in training only."""
    ignored = _ignored(copied(model).eval(), t, names)
    return [name for name in ignored if name in _ignored(copied(model), t, names)] if ignored else []


def _ignored(model: nn.Module, t: Trial, names: list[str]) -> list[str | None]:
    """Return the inputs that may be exchanged between the items; None stands for all of them together."""
    with torch.no_grad():
        outputs = _answers(model, t.inputs, t)
        rows = torch.arange(len(t.targets))
        others = [take_rows(t.inputs, chosen) for chosen in (rows.roll(1), rows // 2)]  # a mean of all sees the second
        if all(_alike(outputs, _answers(model, other, t)) for other in others):
            return [None]
        if len(names) < 2:
            return []
        return [
            name
            for name in names
            if all(_alike(outputs, _answers(model, _exchanged(t.inputs, o, name, "inputs"), t)) for o in others)
        ]


def _answers(model: nn.Module, inputs: Any, t: Trial) -> list[Tensor]:
    """Return all that the loss takes of what a model returns, with the same random numbers each time."""
    seed()
    by_name = dict(tensors_in(call(model, inputs)))
    return [by_name[name] for name in (t.reached or {t.path}) if name in by_name] or [*by_name.values()][:1]


def _alike(first: list[Tensor], second: list[Tensor]) -> bool:
    """Return whether tensors are the same but for rounding."""
    for one, other in zip(first, second, strict=True):
        if one.shape != other.shape:
            return False
        if not one.is_floating_point():
            if not torch.equal(one, other):
                return False
            continue
        if one.numel() and not (one - other).abs().max() <= ROUNDINGS * torch.finfo(one.dtype).eps * one.abs().max():
            return False
    return True


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


@rule(
    "BCE019",
    "batch-mixing",
    "in evaluation an item does not depend on the others",
    target="model",
    explains=("BCE013",),
)
def batch_mixing(t: Trial) -> Outcome:
    """BCE019: in evaluation, when BatchNorm too treats items alone."""
    if t.outputs.ndim == 0 or len(t.outputs) != len(t.targets) or not t.can_be_cut:
        return not_applicable("inputs or outputs are not one per item")
    if is_binary(t.labels) and bool((t.labels == 1).all()) and one_class_by_design(t):
        return not_applicable("each output compares items")
    model = t.copy().eval()
    with torch.no_grad():
        first, second = forward(model, t.inputs, t), forward(model, t.inputs, t)
        if not torch.equal(first, second):
            return _two_passes_differ(t)
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


def _two_passes_differ(t: Trial) -> Outcome:
    """Find why two passes differ, by random numbers or by what the first pass leaves."""
    model = t.copy().eval()
    with torch.no_grad():
        seed()
        first = forward(model, t.inputs, t)
        seed()
        second = forward(model, t.inputs, t)
    if _samples(model, t):
        return not_applicable("the outputs are drawn from a distribution that the model returns beside them")
    if first.shape == second.shape and torch.equal(first, second):
        return warn(
            "in eval() two passes over the same batch differ",
            "F.dropout(x, training=self.training); no random numbers in evaluation",
        )
    return warn(
        "in eval() the second pass over the same batch differs from the first, and not by chance: the model keeps "
        "a state, such as a hidden one or a running mean, from one batch to the next",
        "start each batch from a fresh state, as self.hidden = None in forward(); change statistics only in training",
    )


def _samples(model: nn.Module, t: Trial) -> bool:
    """Return whether the loss takes two or more other tensors that do not change: mean and variance, as in a VAE."""
    with torch.no_grad():
        first, second = (dict(tensors_in(call(model, t.inputs))) for _ in range(2))
    others = [name for name in t.reached if name != t.path and name in first and name in second]
    return len(others) > 1 and all(torch.equal(first[name], second[name]) for name in others)


def _varies(part: Tensor) -> bool:
    return not bool((part == part[:1]).all())
