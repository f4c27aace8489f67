"""BCE042: is a layer frozen that nobody has trained, as its weights are those that torch starts with?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, tip, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.trial import Trial
from torchbce.common.batch import call

FEWEST = 64  # weights, to see a distribution
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)


@rule("BCE042", "frozen-at-random", "what is frozen was trained before", target="model", explains=("BCE013", "BCE016"))
def frozen_at_random(t: Trial) -> Outcome:
    """BCE042: weights of frozen layers, beside the distributions that torch draws its first weights from.

    A warning where it is the only one and what is trained comes before it, or where other frozen layers were trained.
    Layers that all come first may be random on purpose, and so may those between adapters.
    """
    layers = {name: layer for name, layer in t.model.named_modules() if isinstance(layer, LAYERS)}
    weights = {name: list(_weights(layer)) for name, layer in layers.items()}
    frozen = [name for name, own in weights.items() if own and not any(w.requires_grad for w, _ in own)]
    trained = [name for name, own in weights.items() if any(w.requires_grad for w, _ in own)]
    if not frozen:
        return not_applicable("no layer is frozen")
    if not trained:
        return not_applicable("no layer is trained")
    new = [name for name in frozen if all(_is_new(w, limit) for w, limit in weights[name])]
    small = [name for name in frozen if sum(w.numel() for w, _ in weights[name]) < FEWEST]
    new = [name for name in new if name not in small]
    if not new:
        return passed()
    order = _order(t)
    first = min((order.index(name) for name in trained if name in order), default=len(order))
    behind = len(new) == len(frozen) == 1 and new[0] in order and order.index(new[0]) > first
    others = [name for name in frozen if name not in new and name not in small]
    names = ", ".join(new[:4]) + (", ..." if len(new) > 4 else "")
    text = f"frozen with the random weights that torch starts with: {names}"
    fix = "layer.requires_grad_(True), or load its weights: look at what load_state_dict(..., strict=False) returns"
    evidence = {"layers": new}
    if behind:
        return warn(f"{text}, behind layers that are trained", fix, evidence)
    if others:
        return warn(f"{text}; {len(others)} other frozen layers were trained before", fix, evidence)
    return tip(text, fix, evidence)


def _weights(layer: nn.Module) -> Iterator[tuple[Tensor, float]]:
    """A layer's matrices, each with the limit of the uniform distribution that it starts with; 0 for a normal one."""
    if isinstance(layer, nn.Embedding):
        yield layer.weight, 0.0
    elif isinstance(layer, nn.RNNBase):
        for name, weight in layer.named_parameters():
            if "weight" in name:
                yield weight, 1 / math.sqrt(layer.hidden_size)
    elif isinstance(layer, nn.MultiheadAttention):
        if layer.in_proj_weight is not None:
            rows, columns = layer.in_proj_weight.shape
            yield layer.in_proj_weight, math.sqrt(6 / (rows + columns))
    elif isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) and isinstance(layer.weight, nn.Parameter):
        yield layer.weight, 1 / math.sqrt(max(1, layer.weight[0].numel()))


def _is_new(weight: Tensor, limit: float) -> bool:
    """Return whether these are draws of that distribution: Kolmogorov's distance, and no weight beyond the limit."""
    w = weight.detach().double().flatten()
    if weight.dtype in (torch.float16, torch.bfloat16) or not bool(w.isfinite().all()):
        return False
    w = w.sort().values
    n = len(w)
    if limit:
        if float(w.abs().max()) > limit * (1 + 1e-6):
            return False
        expected = (w / limit + 1) / 2
    else:
        expected = (1 + torch.erf(w / math.sqrt(2))) / 2
    places = torch.arange(n, dtype=torch.float64)
    distance = max(float((expected - places / n).max()), float(((places + 1) / n - expected).max()))
    return distance * math.sqrt(n) < 1.63  # one in a hundred


def _order(t: Trial) -> list[str]:
    """The layers in the order in which they run."""
    model = t.copy()
    ran: list[str] = []
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        call(model, t.inputs)
    return ran
