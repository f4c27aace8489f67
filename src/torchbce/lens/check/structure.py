"""What a model, a loss and an optimizer are made of: BCE004, 005, 009, 015, 016, 017, 019."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchbce.lens.check.findings import Finding, Level, not_applicable, passed
from torchbce.lens.check.targets import are_probabilities
from torchbce.lens.check.trial import Trial, forward, select

SQUASHING = ("Sigmoid", "Softmax", "LogSigmoid", "LogSoftmax", "Hardsigmoid")
OPAQUE = ("CompiledFunction", "")  # operations that do not say what they are
BOUNDED = ("Relu", "Tanh", "Hardtanh", "Clamp", "LeakyRelu", "Softplus", "Gelu", "Elu")


def compares_all(t: Trial) -> Finding | None:
    """BCE003 on the batch itself: outputs and targets of different shapes, which the loss lets broadcast."""
    if t.outputs.shape == t.targets.shape or t.outputs.numel() != t.targets.numel() or t.targets.numel() < 2:
        return None
    slopes = []
    for first in (t.targets.flatten()[0], 1 - t.targets.flatten()[0]):
        targets = t.targets.clone()
        targets.view(-1)[0] = first
        outputs = t.outputs.detach().clone().requires_grad_()
        loss = t.loss_func(outputs, targets)
        slopes.append(torch.autograd.grad(loss.sum(), outputs, allow_unused=True)[0])
    if any(slope is None for slope in slopes):
        return None
    moved = (slopes[1] - slopes[0]).abs().flatten()
    own, others = moved[0].item(), moved[1:]
    if own == 0 or abs(others.min().item() / own - 1) > 0.01 or abs(others.max().item() / own - 1) > 0.01:
        return None
    shapes = f"{list(t.outputs.shape)} and targets {list(t.targets.shape)}"
    return Finding(
        "BCE003",
        Level.FAIL,
        f"outputs have the shape {shapes}, which broadcast: the loss compares every output with every target",
        "loss = loss_func(outputs, targets.reshape(outputs.shape))",
        {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)},
    )


def activation_before_logits(t: Trial) -> Finding:
    """BCE004: read off autograd's graph, not guessed from the range of the outputs."""
    if t.loss is not None and t.loss.family == "sigmoid twice":
        return Finding("BCE004", Level.FAIL, "the loss function itself applies a sigmoid twice", "take one away")
    if t.loss is None or t.loss.takes != "logits" or not t.loss.is_cross_entropy:
        return not_applicable("BCE004", "the loss is no BCE of logits")
    last = _squashing(t)
    if last:
        share = (t.targets > 0.5).double().mean().item()
        floor = 0.3133 * share + 0.6931 * (1 - share)
        return Finding(
            "BCE004",
            Level.FAIL,
            f"the model ends with {last}, and the loss applies a sigmoid again: it cannot come below {floor:.4f}",
            "return the values before that layer; torch.sigmoid(logits) only to read them",
            {"last operation": last, "floor": floor},
        )
    if t.last.startswith(BOUNDED):
        return Finding(
            "BCE004",
            Level.WARN,
            f"the model ends with {t.last}, so some logits, and their probabilities, cannot be reached",
            "end the model with a Linear layer",
            {"last operation": t.last},
        )
    return passed("BCE004")


def _squashing(t: Trial) -> str:
    """The activation at the end; tried out where the graph does not tell, as behind torch.compile."""
    if t.last in SQUASHING:
        return t.last
    if t.last not in OPAQUE:
        return ""
    model = t.copy()
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    if not biases:
        return ""
    with torch.no_grad():
        before = forward(model, t.inputs)
        biases[-1].add_(8)  # logits would follow
        raised = forward(model, t.inputs)
    squashed = are_probabilities(before) and are_probabilities(raised) and bool((raised > before).all())
    return "something that keeps outputs within [0, 1]" if squashed else ""


def missing_sigmoid(t: Trial) -> Finding:
    """BCE005."""
    if t.loss is None or t.loss.takes != "probabilities" or t.loss.family in ("constant", "cross-talk"):
        return not_applicable("BCE005", "the loss does not take probabilities")
    x = t.outputs.detach()
    outside = int(((x < 0) | (x > 1)).sum())
    if outside:
        return Finding(
            "BCE005",
            Level.FAIL,
            f"the loss takes probabilities and {outside} of {x.numel()} outputs are outside [0, 1]; the model ends "
            f"with {t.last or 'no operation'}",
            "loss_func = torchbce.BCEWithLogitsLoss()",
            {"outside": outside, "last operation": t.last},
        )
    return passed("BCE005")


def pos_weight_shape(t: Trial) -> Finding:
    """BCE009: torch takes pos_weight as classes, also where it was meant as items."""
    weight = getattr(t.loss_func, "pos_weight", None)
    if not isinstance(weight, Tensor):
        return not_applicable("BCE009", "the loss has no pos_weight")
    per_item = weight.shape == t.outputs.shape[:1] if t.outputs.ndim == 1 else weight.ndim == t.outputs.ndim
    if per_item and weight.shape[0] == len(t.outputs) > 1:
        return Finding(
            "BCE009",
            Level.WARN,
            f"pos_weight has {weight.numel()} values, as many as the batch has items: the last dimension is the class",
            "weight=... for one weight per item; a single pos_weight for one class",
        )
    return passed("BCE009")


def input_ignored(t: Trial) -> Finding:
    """BCE015."""
    if t.outputs.shape[0] < 2:
        return not_applicable("BCE015", "one item only")
    model = t.copy().eval()
    if _all_equal(t.inputs) or not _ignores_inputs(model, t):
        return passed("BCE015")
    _take_steps(model, t)  # a last layer may start at 0 on purpose
    if _ignores_inputs(model, t):
        outputs = forward(model, t.inputs)
        return Finding(
            "BCE015",
            Level.FAIL,
            "the outputs stay the same whatever the inputs are: only the base rate can be learned",
            "look for a wrong slice, a layer whose outputs are all 0, or inputs that are not passed on",
            {"output": outputs.flatten()[0].item()},
        )
    return passed("BCE015")


def _ignores_inputs(model: nn.Module, t: Trial) -> bool:
    with torch.no_grad():
        outputs = forward(model, t.inputs)
        return torch.equal(outputs, forward(model, select(t.inputs, torch.arange(len(outputs)).roll(1))))


def _take_steps(model: nn.Module, t: Trial) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters or not t.value(model).requires_grad:
        return
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(3):
        t.gradients(model, t.value(model))
        optimizer.step()


def dead_gradient(t: Trial) -> Finding:
    """BCE016: on the batch, and again after a step, as a layer may be 0 at the start on purpose."""
    model = t.copy()
    if not any(p.requires_grad for p in model.parameters()):
        return Finding("BCE016", Level.FAIL, "no parameter requires grad", "model.requires_grad_(True)")
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    seen: dict[str, float] = {}
    for _ in range(2):
        step.zero_grad()
        loss = t.value(model)
        if not loss.requires_grad:
            return Finding(
                "BCE016",
                Level.FAIL,
                "the loss has no gradient at all",
                "look for detach(), .data, no_grad() or .item() between the model and the loss",
            )
        t.gradients(model, loss)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                size = -1.0 if parameter.grad is None else parameter.grad.abs().max().item()
                seen[name] = max(seen.get(name, -1.0), size)
        step.step()
    missing = [name for name, size in seen.items() if size < 0]
    zero = [name for name, size in seen.items() if size == 0]
    if missing:
        return Finding(
            "BCE016",
            Level.FAIL if len(missing) == len(seen) else Level.WARN,
            f"{len(missing)} of {len(seen)} parameters get no gradient: {_some(missing)}",
            "use these layers, or freeze them: requires_grad_(False); look for detach() and no_grad()",
            {"parameters": missing},
        )
    if zero:
        return Finding(
            "BCE016",
            Level.WARN,
            f"{len(zero)} of {len(seen)} parameters have a gradient of exactly 0, also after a step: {_some(zero)}",
            "look for units that are 0 for all inputs (a dead ReLU), and outputs that are saturated",
            {"parameters": zero},
        )
    return passed("BCE016")


def optimizer_coverage(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Finding:
    """BCE017: on the user's own objects, which are only looked at."""
    if optimizer is None:
        return not_applicable("BCE017", "needs the optimizer")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    left = [name for name, p in trainable.items() if id(p) not in held]
    if left:
        return Finding(
            "BCE017",
            Level.FAIL,
            f"the optimizer does not have {len(left)} of {len(trainable)} parameters: {_some(left)}",
            "optimizer = torch.optim.Adam(model.parameters())  # after the model is complete",
            {"parameters": left},
        )
    if all(float(group["lr"]) == 0 for group in optimizer.param_groups):
        return Finding("BCE017", Level.FAIL, "the learning rate is 0", "lr=0.001, or check the schedule")
    return passed("BCE017")


def batch_mixing(t: Trial) -> Finding:
    """BCE019: in evaluation, when BatchNorm too treats items alone."""
    model = t.copy().eval()
    with torch.no_grad():
        first, second = forward(model, t.inputs), forward(model, t.inputs)
        if not torch.equal(first, second):
            return Finding(
                "BCE019",
                Level.WARN,
                "in eval() two passes over the same batch differ",
                "F.dropout(x, training=self.training); no random numbers in evaluation",
            )
        rows = torch.arange(len(first)).chunk(2)  # with its first half gone, what an item takes from earlier ones shows
        alone = torch.cat([forward(model, select(t.inputs, half)) for half in rows])
    error = (alone - first).abs().max().item()
    size = first.abs().max().item() + 1e-6
    if error > 1e-3 * size:
        return Finding(
            "BCE019",
            Level.WARN,
            f"in eval() an item's output changes with the other items of its batch, by up to {error:.3g}",
            "model.eval() must reach every layer; no statistics of the batch, no wrong dimension in softmax or reshape",
            {"change": error},
        )
    return passed("BCE019")


def _all_equal(inputs: object) -> bool:
    return isinstance(inputs, Tensor) and bool((inputs == inputs[:1]).all())


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
