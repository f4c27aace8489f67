"""How a model starts, and whether it can learn one small batch: BCE010 ... BCE014."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, tip, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.graph import SIGMOIDS, last_operation
from torchbce.checks.probing.head import last_layer
from torchbce.checks.probing.parts import take_rows, tensors_in
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rules.targets import are_probabilities, is_binary
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.plain_bce import is_plain_bce
from torchbce.functional import binary_cross_entropy

LN2 = math.log(2)
MOST = 2.0  # times log 2
ITEMS = 8
STEPS = 300


@rule("BCE010", "saturation", "outputs are not so far out that there is no gradient", target="model")
def saturated_at_start(t: Trial) -> Outcome:
    """BCE010."""
    p = t.probabilities.to(t.outputs.dtype)
    share = ((p == 0) | (p == 1)).double().mean().item()
    if share > 0.5:
        return warn(
            f"{100 * share:.0f} % of the outputs are so far out that the probability is exactly 0 or 1 in {p.dtype}",
            "scale the inputs to about -1 ... 1; a smaller start of the last layer",
            {"share": share},
        )
    return passed()


@rule(
    "BCE011",
    "loss-at-start",
    "a new network costs about log 2",
    target="model",
    explains=("BCE010", "BCE012", "BCE013"),
)
def loss_at_start(t: Trial) -> Outcome:
    """BCE011: healthy networks on scaled inputs start within 0.1 of log 2."""
    if t.outputs.numel() != t.targets.numel() or not is_binary(t.labels) or not are_probabilities(t.probabilities):
        return not_applicable("targets or outputs are not probabilities")
    if t.takes == "probabilities" and last_operation(t.outputs) not in SIGMOIDS:
        return not_applicable("the outputs are no sigmoids, which would start at one half")
    p = t.probabilities.reshape(t.targets.shape)
    start = binary_cross_entropy(p if t.counts is None else p[t.counts], t.labels.double()).item()
    if start <= MOST * LN2:
        return passed(f"{start:.4f}")
    numbers = [part for _, part in tensors_in(t.inputs) if part.is_floating_point() and part.numel()]
    largest = max((part.abs().max().item() for part in numbers), default=math.nan)
    inputs = f"; the largest input is {largest:.4g}" if largest > 10 else ""
    return warn(
        f"the loss is {start:.4f} now; a new network's outputs are near 0 and cost {LN2:.4f}{inputs}",
        "x = (x - mean) / std"
        if inputs
        else "start the last layer with smaller weights, or train on: it may be trained",
        {"start": start, "largest input": largest},
    )


@rule("BCE012", "head-bias", "the last bias starts at the base rate", target="model")
def head_bias(t: Trial) -> Outcome:
    """BCE012."""
    if not is_binary(t.labels):
        return not_applicable("targets are not 0 and 1")
    shares = _base_rates(t)
    too_few = not any(0 < share < 1 for share in shares) or t.labels.numel() < 32
    if too_few or (layer := last_layer(t)) is None:  # which runs the model
        return not_applicable("no last bias, one class only, or fewer than 32 items")
    if t.loss is None or t.loss.family != "bce" or not is_plain_bce(t.loss_func):
        return not_applicable("the loss is weighted or not BCE, and so is the best start")
    gain = sum(LN2 - cross_entropy(share, share) for share in shares) / len(shares)
    mean = t.probabilities.mean().item()
    starts = t.probabilities.mean(0) if len(shares) > 1 and t.outputs.shape == t.targets.shape else torch.tensor(mean)
    if not (gain > 0.1 and bool(((starts - 0.5).abs() < 0.1).all())):
        return passed()
    if len(shares) == 1:
        text = f"{100 * shares[0]:.3g} % of the targets are 1, and the outputs start at {100 * mean:.3g} %: the first "
        text += f"steps only learn the base rate, worth {gain:.4f} nats"
        fix = f"{layer}.bias.data.fill_({math.log(shares[0] / (1 - shares[0])):.3f})  # log(p / (1 - p))"
        return tip(text, fix, {"base rate": shares[0], "gain": gain})
    text = f"each label has its own share of ones, {100 * min(shares):.3g} % to {100 * max(shares):.3g} % for "
    text += f"{len(shares)} labels, and the outputs start at {100 * mean:.3g} %: the first steps only learn these "
    text += f"base rates, worth {gain:.4f} nats per label and item on average"
    fix = f"{layer}.bias.data.copy_(torchbce.prior_bias(targets))  # log(p / (1 - p)) of each label"
    return tip(text, fix, {"base rates": shares, "gain": gain})


def _base_rates(t: Trial) -> list[float]:
    """The share of ones; of several labels, (items, labels), that of each one that has items which count."""
    y = t.targets.detach().double()
    if y.ndim != 2 or y.shape[1] < 2:
        return [t.labels.double().mean().item()]
    counts = torch.ones_like(y, dtype=torch.bool) if t.counts is None else t.counts
    known = counts.sum(0)
    ones = torch.where(counts, y, 0.0).sum(0)
    return (ones[known > 0] / known[known > 0]).tolist()


@rule("BCE013", "overfits-one-batch", "a few items can be memorized", target="model")
def overfits_one_batch(t: Trial) -> Outcome:
    """BCE013: with a capable optimizer any working network memorizes eight items."""
    why = _why_not_cut(t)
    if why:
        return not_applicable(why)
    rows = _few_distinct(t)
    if rows is None:
        return not_applicable("the batch has no two classes with distinct inputs")
    model, inputs, targets = t.copy(), take_rows(t.inputs, rows), t.targets[rows]
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters or not t.value(model, inputs, targets).requires_grad:
        return not_applicable("nothing can be trained")
    if sum(p.numel() for p in parameters) < 4 * ITEMS:
        return not_applicable(f"fewer than {4 * ITEMS} parameters, too few to memorize any items")
    floor = max(_lowest(t, rows), 0.0)  # outputs that are bound to each other, as log-probabilities, come no further
    start = best = math.inf
    for lr in (1e-2, 1e-3):
        model = t.copy()
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
        for step in range(STEPS):
            loss = t.value(model, inputs, targets)
            if step == 0:
                start = loss.item()
            best = min(best, loss.item())
            if best - floor < 0.1 * (start - floor):
                return passed(f"{start:.4f} to {best:.4f} in {step} steps")
            t.gradients(model, loss)
            optimizer.step()
    evidence = {"start": start, "best": best, "lowest": floor}
    if best - floor < 0.5 * (start - floor):
        return passed(f"{start:.4f} to {best:.4f}")
    return warn(
        f"{len(rows)} items cannot be memorized: in {STEPS} steps of Adam the loss went from {start:.4f} to "
        f"{best:.4f} only; these items could cost {floor:.4f}",
        "look at the other findings; at whether inputs and targets belong together; at the size of the network",
        evidence,
    )


def _lowest(t: Trial, rows: Tensor) -> float:
    """Return what the loss comes down to for free outputs; above 0 with smoothed targets."""
    takes_probabilities = t.loss is not None and t.loss.takes == "probabilities"
    free = torch.zeros_like(t.outputs[rows]).detach().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.1)
    lowest = math.inf
    for _ in range(STEPS):
        loss = t.loss_of(torch.sigmoid(free) if takes_probabilities else free, t.targets[rows], rows)
        loss = loss if t.reduces else loss / len(rows)
        lowest = min(lowest, loss.item())
        free.grad = torch.autograd.grad(loss, free)[0]
        optimizer.step()
    return lowest


@rule("BCE014", "conflicting-items", "equal inputs have equal labels", target="model", explains=("BCE013",))
def conflicting_items(t: Trial) -> Outcome:
    """BCE014: equal inputs with both labels put a floor under the loss."""
    if not isinstance(t.inputs, Tensor) or not is_binary(t.targets) or t.targets.numel() != len(t.inputs):
        return not_applicable("inputs are not one tensor, or there are several targets per item")
    _, group = torch.unique(t.inputs.detach().flatten(1), dim=0, return_inverse=True)
    y = t.targets.detach().double().flatten()
    count = torch.bincount(group)
    ones = torch.zeros(len(count), dtype=torch.float64).index_add_(0, group, y)
    mixed = (ones > 0) & (ones < count)
    if not mixed.any():
        return passed()
    share = ones / count
    floor = (binary_cross_entropy(share, share, reduction="none") * count).sum().item() / len(y)
    return tip(
        f"{int(count[mixed].sum())} items have an input that occurs with both labels: no model can come below "
        f"{floor:.4f} on this batch",
        "look at how these rows were labelled, and whether a feature is missing",
        {"floor": floor},
    )


def _why_not_cut(t: Trial) -> str:
    """Return why no eight items of two classes can be taken from the batch; empty where they can."""
    if t.targets.ndim > 1 and t.targets.numel() != len(t.targets):
        return f"each item has {t.targets[0].numel()} labels, and so no class of its own"
    if t.targets.ndim == 0 or not t.can_be_cut:
        return "inputs or targets are not one per item"
    if t.counts is not None:
        return "some labels are missing"
    return "" if is_binary(t.targets) else "targets are not 0 and 1"


def _few_distinct(t: Trial) -> Tensor | None:
    """Return up to eight items, of both classes, whose inputs differ."""
    y = t.targets.flatten()
    chosen: list[int] = []
    for label in (0, 1):
        of_label: list[int] = []
        for i in (y == label).nonzero().flatten().tolist():
            if not any(_same(t.inputs, i, j) for j in chosen + of_label):
                of_label.append(i)
            if len(of_label) == ITEMS // 2:
                break
        if not of_label:
            return None
        chosen += of_label
    return torch.tensor(chosen)


def _same(inputs: object, i: int, j: int) -> bool:
    """Return whether two items have equal inputs."""
    parts = [part for _, part in tensors_in(inputs) if part.ndim and len(part) > max(i, j)]
    return all(torch.equal(part[i], part[j]) for part in parts)
