"""The last layer of somebody's model: which one it is, and how its owner writes it."""

from __future__ import annotations

import torch
from torch import nn

from torchbce.checks.probing.trial import Trial
from torchbce.common.batch import call

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def last_layer(t: Trial) -> str | None:
    """Return as code, such as ``model.head``, the last layer to run that has a bias and an item's number of outputs.

    None where there is none, as in a model whose last layer has no bias.
    """
    model = t.copy()
    fitting = {name: part for name, part in model.named_modules() if isinstance(part, KINDS) and _fits(part, t)}
    if not fitting:
        return None
    ran: list[str] = []
    for name, part in fitting.items():
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        call(model, t.inputs)
    return _as_code(model, ran[-1] if ran else list(fitting)[-1])


def _fits(layer: nn.Module, t: Trial) -> bool:
    """Return whether it has a bias for each of an item's outputs."""
    if not isinstance(layer.bias, nn.Parameter):
        return False
    places = 1 if t.outputs.ndim < 2 else t.outputs.shape[-1 if isinstance(layer, nn.Linear) else 1]
    return layer.bias.numel() in (places, 1)


def _as_code(model: nn.Module, name: str) -> str:
    code, parent = "model", model
    for part in filter(None, name.split(".")):
        if isinstance(parent, nn.Sequential | nn.ModuleList):
            code += f"[{part}]"
        elif isinstance(parent, nn.ModuleDict):
            code += f"[{part!r}]"
        else:
            code += f".{part}" if part.isidentifier() else f".get_submodule({part!r})"
        parent = parent.get_submodule(part)
    return code
