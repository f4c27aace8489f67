"""Which loss is this function? Its gradient says so: for BCE with logits it is c (sigmoid(z) - y), for nothing else.

With pos_weight w and smoothed targets t the gradient of an item is c ((1 - t) sigmoid(z) - w t (1 - sigmoid(z))), a
straight line in sigmoid(z) for each of the two classes; the two lines give c, w and both t. Turning one target around
moves the gradient of its own item only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchbce.checks.probing.form import ITEMS, Form, LossFunction, Probe
from torchbce.checks.probing.known_losses import CLOSE, FARTHEST, SHARES, lowest_at, name_of

EXACT = 1e-5  # relative; a loss may compute in float32
LN2 = math.log(2)

SOFTMAX = "softmax cross-entropy"
FLIPS = 6  # targets
FEWEST = 4  # points of each class, for a straight line to be no accident
SAMPLE = 512  # gradients that are compared with those of known losses


@dataclass(frozen=True)
class Fingerprint:
    """What a loss function turned out to be.

    family: "bce", "cross-talk", "constant", "exchanged", "of the mean", "not bce", or the name of another loss.
    takes: "logits", "probabilities", or "" where that is not known.
    scale: of an item's gradient, times the number of items for a mean.
    reduction: "mean", "sum", "none" or "".
    low, high: what targets 0 and 1 are turned into.
    lowest: the probability where a loss that is not BCE is lowest, for each of `known_losses.SHARES`; 0 and 1 stand for
        nowhere. Empty where that is not known.
    pos_weight, weight: of each column, or one for all.
    weighs_items: each item has a weight of its own.
    is_paired: each output of the batch meets its own target only.
    is_reversed: raising a target raises the gradient, so that the output is lowered.
    takes_classes: the targets are numbers of classes, and each output is the score of one.
    """

    family: str
    takes: str = ""
    reduction: str = ""
    scale: float = math.nan
    pos_weight: tuple[float, ...] = (1.0,)
    weight: tuple[float, ...] = (1.0,)
    low: float = 0.0
    high: float = 1.0
    cross_talk: float = 0.0
    lowest: tuple[float, ...] = ()
    weighs_items: bool = False
    takes_classes: bool = False
    is_paired: bool = False
    is_reversed: bool = False

    @property
    def is_proper(self) -> bool | None:
        """Return whether a loss that is not BCE is lowest at the right probability; None where that is not known."""
        if not self.lowest:
            return None
        return all(abs(lowest - share) < CLOSE for lowest, share in zip(self.lowest, SHARES, strict=True))

    @property
    def is_cross_entropy(self) -> bool:
        """Return whether it is BCE or its focal variant, which take logits with a sigmoid inside, or probabilities."""
        return self.family == "bce" or self.family.startswith("focal")

    @property
    def smoothing(self) -> float:
        """Return the label smoothing: targets become (1 - smoothing) y + smoothing / 2."""
        return self.low + 1 - self.high

    @property
    def turned(self) -> bool:
        """Return whether targets are flipped."""
        return self.high < self.low

    def __str__(self) -> str:
        if self.family == "cross-talk":
            return "a loss that compares every output with every target"
        if self.family == "constant":
            return "a loss that does not depend on the outputs"
        if self.family == "exchanged":
            return "BCE of exchanged arguments"
        if self.family == "of the mean":
            return "a function of the mean BCE"
        if self.family != "bce":
            return "not binary cross-entropy" if self.family == "not bce" else f"{self.family}, not BCE"
        words = [f"{self.reduction}-reduced BCE of {self.takes}" if self.reduction else f"BCE of {self.takes}"]
        if self.pos_weight != (1.0,):
            words.append("pos_weight " + ", ".join(f"{weight:.4g}" for weight in self.pos_weight))
        if self.weight != (1.0,):
            words.append("weight " + ", ".join(f"{weight:.4g}" for weight in self.weight))
        if self.weighs_items:
            words.append("a weight for each item")
        if self.turned:
            words.append("targets flipped")
        elif self.smoothing:
            words.append(f"label smoothing {self.smoothing:.4g}")
        times = ""
        if abs(self.scale - 1) > EXACT:
            times = f", times {self.scale:.4g}" + " (bits)" * (abs(self.scale * LN2 - 1) < 1e-4)
        return words[0] + (f" with {', '.join(words[1:])}" if words[1:] else "") + times


def fingerprint(loss_func: LossFunction, *, columns: int | None = None) -> Fingerprint:
    """Identify a loss function by its gradients at chosen outputs; it is called a dozen times, with float64 tensors.

    Args:
        loss_func: maps (outputs, targets) to a loss.
        columns: outputs have this many columns; by default they are 1-d, or have one column where that fails.

    Raises:
        ValueError: the function fails on every kind of outputs; its own error is the cause.
    """
    return identified([Form(loss_func, (columns,))] if columns else [Form(loss_func), Form(loss_func, (1,))])


def identified(forms: Sequence[Form]) -> Fingerprint:
    """Identify a loss in the first of these forms that it does not refuse.

    Raises:
        ValueError: it fails in every form; its own error is the cause.
    """
    failure: Exception | None = None
    unknown = None
    for form in forms:
        refused = False
        for takes in ("logits", "probabilities"):
            try:
                result = replace(_identify(Probe(form, takes)), takes_classes=form.exclusive)
            except Exception as error:  # whatever a user's function raises, another kind of outputs may be right
                failure, refused = error, True
                continue
            certain = result.family != "not bce" if takes == "logits" or refused else result.family == "bce"
            if certain:
                return result
            # Only what refuses logits is known to take probabilities.
            if unknown is None:
                unknown = replace(result, takes="probabilities" if refused and takes == "probabilities" else "")
    if unknown is not None and unknown.family != "not bce":
        return unknown
    if _is_exchanged(forms[0]):
        return Fingerprint("exchanged")
    if unknown is None:
        raise ValueError(f"the loss function fails on {ITEMS} outputs: {failure}") from failure
    return unknown


def _is_exchanged(form: Form) -> bool:
    """Return whether it is BCE if the targets come first."""
    if form.exclusive:
        return False
    for takes in ("logits", "probabilities"):
        try:
            probe = Probe(replace(form, loss_func=lambda outputs, targets: form.loss_func(targets, outputs)), takes)
            if _identify(probe).family == "bce":
                return True
        except Exception:  # as above
            continue
    return False


def _identify(probe: Probe) -> Fingerprint:
    z, y = probe.points()
    g = probe(z, y)
    if g.abs().max() < 1e-12:
        return Fingerprint("constant")
    least, most, reversed_ = _cross_talk(probe, z, y, g)
    if most > EXACT:  # what mixes items in another way than broadcasting does, such as a Dice loss, is meant
        if (abs(least - 1) < 1e-3 and abs(most - 1) < 1e-3) or _meets_all(probe, z, y, g):
            return Fingerprint("cross-talk", probe.takes, cross_talk=most)
        family = "of the mean" if _of_the_mean(z, y, g, probe) else "not bce"
        return Fingerprint(family, probe.takes, is_reversed=reversed_)
    return replace(_of_each(probe, z, y, g), is_paired=probe.form.of_batch, is_reversed=reversed_)


def _of_each(probe: Probe, z: Tensor, y: Tensor, g: Tensor) -> Fingerprint:
    """Identify a loss where each output meets its own target only."""
    counts = probe.form.counts
    solved = _solved(z, y, g, counts)
    if solved is None:
        if _weighs_items(probe, z, y, g):
            sign = 1.0 if bool(((torch.sigmoid(z) - y) * g).sum() > 0) else -1.0
            return Fingerprint("bce", probe.takes, scale=sign, weighs_items=True)
        return _other(probe, z, y, g)
    scales, weights, lows, highs = zip(*solved, strict=True)
    count = z.numel() if counts is None else int(counts.sum())
    reduction = _reduction(probe, z, y, g, scales[0] * count)
    times = count if reduction == "mean" else 1
    alike = max(scales) - min(scales) <= EXACT * abs(scales[0])
    return Fingerprint(
        "bce",
        probe.takes,
        reduction,
        _tidy(scales[0] * times) if alike else 1.0,
        _one_or_all(weights),
        (1.0,) if alike else _one_or_all([scale * times for scale in scales]),
        _tidy(lows[0]),
        _tidy(highs[0]),
    )


def _other(probe: Probe, z: Tensor, y: Tensor, g: Tensor) -> Fingerprint:
    """A loss that is not BCE."""
    if probe.form.exclusive and _is_line(torch.softmax(z, -1) - y, g):
        return Fingerprint(SOFTMAX, probe.takes)
    counted = slice(None) if probe.form.counts is None else probe.form.counts.flatten()
    z, y, g = (values.flatten()[counted] for values in (z, y, g))
    chosen = torch.linspace(0, len(z) - 1, min(len(z), SAMPLE)).long()
    z, y, g = z[chosen], y[chosen], g[chosen]
    slope = torch.sigmoid(z) * (1 - torch.sigmoid(z))
    if probe.takes == "logits" and _column(torch.sigmoid(z), y, g / slope) is not None:  # with a pos_weight or smoothed
        return Fingerprint("sigmoid twice", probe.takes)
    other = name_of(z, y, g)
    if probe.takes == "probabilities":
        other = other.replace("sigmoid(outputs)", "the outputs")
    known = other and not (other == "sigmoid twice" and probe.takes == "probabilities")  # our own sigmoid was one
    return Fingerprint(other if known else "not bce", probe.takes, lowest=_lowest(probe))


def _is_line(x: Tensor, g: Tensor) -> bool:
    """Return whether gradients are these, up to a positive factor."""
    factor = (g * x).sum() / (x * x).sum()
    return bool(factor > 0) and bool((g - factor * x).abs().max() <= EXACT * g.abs().max())


def _weighs_items(probe: Probe, z: Tensor, y: Tensor, g: Tensor) -> bool:
    """Return whether it is BCE with a weight for each item: then gradient / (sigmoid - label) is the same elsewhere."""
    if probe.form.exclusive:
        return False
    first, second = g / (torch.sigmoid(z) - y), probe(z + 1.5, y) / (torch.sigmoid(z + 1.5) - y)
    one_sign = bool((first >= 0).all()) or bool((first <= 0).all())
    return one_sign and bool((first - second).abs().max() <= EXACT * first.abs().max())


def _one_or_all(columns: Sequence[float]) -> tuple[float, ...]:
    """Return one value where all are alike."""
    tidy = tuple(map(_tidy, columns))
    return tidy[:1] if len(set(tidy)) == 1 else tidy


def _solved(z: Tensor, y: Tensor, g: Tensor, counts: Tensor | None) -> list[tuple[float, float, float, float]] | None:
    """Solve for scale, pos_weight and targets, of all outputs or of each column, where these are gradients of BCE."""
    if counts is not None:
        together = _column(z[counts], y[counts], g[counts])
        return None if together is None else [together]
    together = _column(z, y, g)
    if together is not None:
        return [together]
    for dim in {z.ndim - 1, 1} - {0} if z.ndim > 1 else ():
        parts = list(zip(*(values.unbind(dim) for values in (z, y, g)), strict=True))
        if min(min((y_k == 0).sum(), (y_k == 1).sum()) for _, y_k, _ in parts) < FEWEST:
            continue
        solutions = [_column(*part) for part in parts]
        solved = [column for column in solutions if column is not None]
        if len(solved) == len(solutions):
            return solved
    return None


def _column(z: Tensor, y: Tensor, g: Tensor) -> tuple[float, float, float, float] | None:
    """Solve for scale, pos_weight and the targets, where these are gradients of BCE."""
    zeros, ones = (_line(torch.sigmoid(z[y == label]), g[y == label]) for label in (0.0, 1.0))
    return None if zeros is None or ones is None else _solve(*zeros, *ones)


def _reduction(probe: Probe, z: Tensor, y: Tensor, g: Tensor, times: float) -> str:
    """A mean's gradients grow on half of the items, a sum's stay; else what the scale says, times the items."""
    if not probe.reduced:
        return "none"
    half = probe.rows // 2
    try:
        grown = (probe(z[:half], y[:half]).abs().sum() / g[:half].abs().sum()).item()
    except Exception:  # a loss may know the number of its items
        return "mean" if abs(abs(times) - 1) < EXACT else "sum" if abs(abs(times) - z.numel()) < EXACT * times else ""
    return "mean" if abs(grown - probe.rows / half) < EXACT else "sum" if abs(grown - 1) < EXACT else ""


def _cross_talk(probe: Probe, z: Tensor, y: Tensor, g: Tensor) -> tuple[float, float, bool]:
    """Return how much flipping a target moves other items' gradients, next to its own: the least and the most.

    Also whether a target that is raised raises its own gradient, each time.
    """
    least, most, raised = math.inf, 0.0, list[bool]()
    places = torch.randperm(z.numel(), generator=torch.Generator().manual_seed(0))  # not all on a diagonal
    for i in places[:FLIPS].tolist():
        turned, own = probe.turned(y, i)
        change = probe(z, turned) - g
        moved = change.abs()
        raised.append(bool((change * (turned - y))[own].sum() > 0))
        others = moved[~own] / max(moved[own].max().item(), 1e-300)
        if moved.max() > 1e-12 and len(others):
            least, most = min(least, others.min().item()), max(most, others.max().item())
    return least, most, all(raised)


def _meets_all(probe: Probe, z: Tensor, y: Tensor, g: Tensor) -> bool:
    """Return whether it does not matter which target is flipped: every output meets every target, in any loss."""
    if probe.form.exclusive:
        return False
    moved = []
    for i in (j for j in range(z.numel()) if y.view(-1)[j] == 1):
        moved.append((probe(z, probe.turned(y, i)[0]) - g).flatten())
        if len(moved) == 3:
            break
    size = moved[0].abs().max()
    return bool(size > 1e-12) and all(bool((m - moved[0]).abs().max() < 1e-3 * size) for m in moved[1:])


def _line(sigmoid: Tensor, g: Tensor) -> tuple[float, float] | None:
    """Fit (a, b) of g = b sigmoid - a (1 - sigmoid); None where it is no such line."""
    x = torch.stack([sigmoid.flatten(), -(1 - sigmoid.flatten())], 1)
    b, a = torch.linalg.lstsq(x, g.flatten()[:, None]).solution.flatten().tolist()
    rest = (x @ torch.tensor([b, a], dtype=x.dtype) - g.flatten()).abs().max().item()
    return (a, b) if rest <= EXACT * max(abs(a), abs(b), 1e-300) else None


def _solve(a0: float, b0: float, a1: float, b1: float) -> tuple[float, float, float, float] | None:
    """Solve b = c (1 - t), a = c w t for c, w and the targets t0, t1."""
    size = max(map(abs, (a0, b0, a1, b1)))
    if size == 0 or abs(a1) < EXACT * size or abs(b0) < EXACT * size:
        # Targets flipped: what should be 0 is 1.
        turned = abs(a1) < EXACT * size and abs(b0) < EXACT * size and size > 0
        return (b1, a0 / b1, 1.0, 0.0) if turned and b1 else None
    r, q = a0 / a1, b1 / b0
    if abs(1 - q * r) < EXACT:
        return None
    # t0 = r t1 and 1 - t1 = q (1 - t0).
    t1 = (1 - q) / (1 - q * r)
    t0 = r * t1
    scale = b0 / (1 - t0)
    return scale, a1 / (scale * t1), t0, t1


def _lowest(probe: Probe) -> tuple[float, ...]:
    """Return where the loss is lowest, from its gradients along a line of logits."""
    if probe.form.exclusive:
        return ()
    line = torch.linspace(-FARTHEST, FARTHEST, 12 * ITEMS + 1, dtype=torch.float64)
    try:
        zeros, ones = (probe.along(line, label) for label in (0.0, 1.0))
    except Exception:  # a loss may refuse one class only
        return ()
    return lowest_at(line, zeros, ones)


def _of_the_mean(z: Tensor, y: Tensor, g: Tensor, probe: Probe) -> bool:
    """A function of the mean BCE: its gradients are BCE's times a factor that all items share and that changes."""
    factors = []
    for shift in (0.0, 1.5):
        gradient = torch.sigmoid(z + shift) - y
        factor = (g if not shift else probe(z + shift, y)) / gradient
        if (factor - factor.mean()).abs().max() > 1e-4 * factor.abs().max():
            return False
        factors.append(float(factor.mean()))
    return abs(factors[0] - factors[1]) > 1e-3 * max(map(abs, factors))


def _tidy(value: float) -> float:
    """Round the last digits away, which are rounding errors."""
    return round(value) + 0.0 if abs(value - round(value)) < EXACT else float(f"{value:.5g}")
