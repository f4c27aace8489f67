"""What a loss per epoch gives away."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, outcome, passed, tip, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.explanation.statistics.decomposition import Decomposition
from torchbce.explanation.statistics.entropy import cross_entropy

LN2 = math.log(2)
FEWEST_EPOCHS = 3  # one epoch proves nothing
CLAMP = 100.0  # the most that one item can cost a loss of probabilities
RATIO_ERROR = 0.005
EXPLODED = 4.0  # times the worst epoch before
NEAR = 0.015  # of log 2, or of the entropy, within which a loss has learned next to nothing
NO_FALL = 0.003  # of it, from the first third of the epochs to the last
STEADY = 0.35  # how far the logarithm of a ratio moves where it is one of units, and not one of learning


@dataclass(frozen=True)
class Log:
    """The losses of the epochs and what is known beside them; see `check_log`."""

    train: np.ndarray
    valid: np.ndarray | None
    base_rate: float | None
    from_logits: bool | None
    batch_size: int | None
    batch_losses: Sequence[Sequence[float]] | None
    batch_counts: Sequence[int] | None
    items_seen: int | None
    dataset_size: int | None
    running: bool
    decompositions: Sequence[Decomposition] | None


@rule(
    "BCE021",
    "impossible-loss",
    "the loss is possible",
    target="log",
    explains=("BCE020", "BCE023", "BCE025", "BCE026", "BCE035"),
)
def impossible_loss(log: Log) -> Outcome:
    """BCE021."""
    train, valid, from_logits = log.train, log.valid, log.from_logits
    for name, values in (("train", train), ("valid", valid)):
        if values is None:
            continue
        for epoch, loss in enumerate(values, 1):
            if not math.isfinite(loss):
                text, fix = f"the {name} loss of epoch {epoch} is {loss}", "check_predictions on that epoch's outputs"
            elif loss < 0:
                text = f"the {name} loss of epoch {epoch} is {loss:.6g}: a BCE of targets in [0, 1] is never negative"
                fix = "check that targets are 0 and 1: {-1, 1} become (targets + 1) / 2"
            elif loss > CLAMP and from_logits is False:
                text = f"the {name} loss of epoch {epoch} is {loss:.6g}: BCELoss clamps each item at 100"
                fix = "print the mean, not a sum: total / items"
            else:
                continue
            return fail(text, fix, {"epoch": epoch, "loss": loss})
    return passed()


@rule("BCE020", "stuck", "the loss moves", target="log", explains=("BCE025", "BCE026", "BCE035"))
def stuck(log: Log) -> Outcome:
    """BCE020: the two places where losses get stuck mean different things."""
    train, base_rate = log.train, log.base_rate
    if len(train) < FEWEST_EPOCHS:
        return not_applicable(f"fewer than {FEWEST_EPOCHS} epochs")
    last = train[-FEWEST_EPOCHS:]
    if np.ptp(train) <= 1e-3 * abs(train[0]):
        return warn(
            f"the loss is {train[0]:.4f} from the first epoch to the last",
            "does the optimizer have the parameters and a learning rate? run check(model, batch, loss_func, optimizer)",
            {"place": float(train[0])},
        )
    at_zero, why = "log 2, what outputs of 0 cost", "did anything move? run check(model, batch, loss_func, optimizer)"
    if base_rate is None or base_rate < 0.5:  # a sigmoid of 0 is taken for a logit of 0
        why += "; with rare ones, a sigmoid before a loss of logits ends here too"
    places: list[tuple[str, float, str]] = [(at_zero, LN2, why)]
    if base_rate is not None and 0 < base_rate < 1:
        entropy = cross_entropy(base_rate, base_rate)
        if abs(entropy - LN2) < 0.01:
            places = []
        else:
            at_zero += f", where always answering {100 * base_rate:.4g} % costs {entropy:.4f}"
            places = [(at_zero, LN2, why)]
        words = f"{entropy:.4f}, what always answering {100 * base_rate:.4g} % costs: only the base rate was learned"
        places.append((words, entropy, "are the inputs used? run check(model, batch, loss_func, optimizer)"))
    for words, level, fix in places:
        epochs = _stays_at(train, level)
        if epochs and (log.valid is None or not _came_below(log.valid, level)):
            return warn(
                f"the last {epochs} epochs stand near {words}, and do not fall ({train[-epochs]:.4f} to "
                f"{train[-1]:.4f})",
                fix,
                {"place": level},
            )
        if (np.abs(last - level) < 0.005 * level / LN2).all():  # rare events cost little, and so does learning them
            return warn(
                f"the last {FEWEST_EPOCHS} epochs stand at {words} ({', '.join(f'{loss:.4f}' for loss in last)})",
                fix,
                {"place": level},
            )
    return passed()


def _stays_at(losses: np.ndarray, level: float) -> int:
    """Return for how many epochs, up to the last, a loss is near a level, the later ones no lower; 0 where none is."""
    away = np.flatnonzero(np.abs(losses / level - 1) > NEAR)
    tail = losses[away[-1] + 1 :] if len(away) else losses
    if len(tail) < 2 * FEWEST_EPOCHS:
        return 0
    third = len(tail) // 3
    fall = float(tail[:third].mean() - tail[-third:].mean())
    return len(tail) if fall < NO_FALL * level or fall < np.abs(np.diff(tail)).mean() else 0


def _came_below(losses: np.ndarray, level: float) -> bool:
    return bool(losses.min() < (1 - NEAR) * level)


@rule("BCE022", "epoch-average", "the epoch's loss is the mean over items", target="log", explains=("BCE035",))
def epoch_average(log: Log) -> Outcome:
    """BCE022: what is printed beside the mean over items, and which other number of these batches it is."""
    train, batch_losses, batch_counts = log.train, log.batch_losses, log.batch_counts
    if batch_losses is None or batch_counts is None:
        return not_applicable("needs batch_losses and batch_counts")
    counts = np.asarray(batch_counts, np.float64)
    epochs = list(zip(train, batch_losses, strict=True))
    for epoch, (_, batches) in enumerate(epochs, 1):
        if len(batches) != len(counts):
            raise ValueError(f"epoch {epoch} has {len(batches)} batch losses and there are {len(counts)} batch counts")
    true = np.array([np.average(batches, weights=counts) for _, batches in epochs])
    wrong = np.array([abs(p - t) > _rounding(p) + 1e-6 * abs(t) for p, t in zip(train, true, strict=True)])
    if not wrong.any():
        return passed()
    epoch = int(wrong.argmax())
    printed, right = float(train[epoch]), float(true[epoch])
    name = next(
        (
            name
            for name in BOOKS
            if all(abs(p - BOOKS[name](np.asarray(b), counts)) <= _rounding(p) + 1e-6 * abs(p) for p, b in epochs)
        ),
        "",
    )
    what = name or "which is no sum or mean of these batches that is known"
    sizes = f": the last batch has {counts[-1]:g} items and the weight of {counts[0]:g}" if name == BATCH_MEANS else ""
    return outcome(
        Level.FAIL if name else Level.WARN,
        f"epoch {epoch + 1} prints {printed:.6f}, {what}; the mean over its items is {right:.6f}{sizes}",
        "meter = torchbce.EpochBCE(loss_func)\nmeter.update(loss, targets)  # in each batch\nprint(meter)",
        {"printed": printed, "true": right},
    )


BATCH_MEANS = "the mean of its batch means"
BOOKS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    BATCH_MEANS: lambda means, counts: float(means.mean()),
    "the loss of its last batch": lambda means, counts: float(means[-1]),
    "the loss of its first batch": lambda means, counts: float(means[0]),
    "the sum of its batch means": lambda means, counts: float(means.sum()),
    "the sum over its items": lambda means, counts: float(means @ counts),
    "the sum of its batch means divided by the number of items": lambda means, counts: float(
        means.sum() / counts.sum()
    ),
    "the sum over its items divided by the number of batches": lambda means, counts: float(
        means @ counts / len(counts)
    ),
    "the sum over its items divided by as many full batches": lambda means, counts: float(
        means @ counts / (len(counts) * counts[0])
    ),
    "the sum over its items divided by one batch less": lambda means, counts: float(
        means @ counts / max(1, (len(counts) - 1) * counts[0])
    ),
    "the mean of its batch means, divided by the batch size": lambda means, counts: float(means.mean() / counts[0]),
}


def _rounding(printed: float) -> float:
    """Return half a unit of the last digit that was printed, and at least what adding up in float32 loses."""
    digits = len(repr(float(printed)).partition(".")[2]) if "e" not in repr(float(printed)) else 17
    return max(0.5001 * 10.0**-digits, 1e-6 * abs(printed))


@rule(
    "BCE023",
    "other-unit",
    "losses that are compared have one unit and one objective",
    target="log",
    explains=("BCE035",),
)
def other_unit(log: Log) -> Outcome:
    """BCE023: a constant ratio of two curves is a unit; that of the first epochs says which."""
    train, valid, batch_size = log.train, log.valid, log.batch_size
    if valid is None or len(train) < FEWEST_EPOCHS:
        return not_applicable(f"needs train and valid losses of {FEWEST_EPOCHS} epochs")
    if not ((train > 0) & (valid > 0) & np.isfinite(train) & np.isfinite(valid)).all():
        return not_applicable("losses are not positive numbers")
    ratios = valid / train
    known = {1 / LN2: "valid is in bits", LN2: "train is in bits"}
    if batch_size is not None and batch_size > 1:
        known |= {float(batch_size): "valid is a sum over batches", 1.0 / batch_size: "train is a sum over batches"}
    ratio = float(np.median(ratios))
    for factor, words in known.items():
        exact = abs(ratio / factor - 1) < RATIO_ERROR and (np.abs(ratios / ratio - 1) < RATIO_ERROR).all()
        # Validation differs from training, but never by a factor as large as a batch.
        large = max(factor, 1 / factor) >= 8 and (np.abs(np.log(ratios / factor)) < LN2).all()
        if exact or large:
            return _other_unit(ratio, exact, words)
    constant = (
        (np.abs(ratios / ratio - 1) < RATIO_ERROR).all() and abs(ratio - 1) > 0.05 and np.ptp(train) > 0.01 * train[0]
    )
    far = max(ratio, 1 / ratio) >= 8 and (np.abs(np.log(ratios / ratio)) < STEADY).all()
    if constant or far:
        larger, smaller = ("valid", "train") if ratio > 1 else ("train", "valid")
        words = f"{larger} is a sum, or {smaller} is divided by more than its items"
        return _other_unit(ratio, bool(constant), words)
    return passed()


def _other_unit(ratio: float, exact: bool, words: str) -> Outcome:
    return warn(
        f"valid / train is {'' if exact else 'about '}{ratio:.4f} in every epoch: {words}",
        "print both in nats per item: total / items",
        {"ratio": ratio},
    )


@rule("BCE024", "counted-twice", "every item is counted once", target="log")
def counted_twice(log: Log) -> Outcome:
    """BCE024."""
    seen, size = log.items_seen, log.dataset_size
    if seen is None or size is None:
        return not_applicable("needs items_seen and dataset_size")
    if seen == size:
        return passed()
    more = seen > size
    return warn(
        f"{seen:,} items were evaluated and there are {size:,}: {abs(seen - size):,} "
        + ("counted twice" if more else "left out"),
        "a DistributedSampler pads with doubled items: give each process its own part, and merge their EpochBCE"
        if more
        else "drop_last=False where a loss is measured",
        {"seen": seen, "size": size},
    )


@rule("BCE025", "validation-below-train", "training loss is measured like validation loss", target="log")
def validation_below_train(log: Log) -> Outcome:
    """BCE025."""
    train, valid, running = log.train, log.valid, log.running
    if valid is None:
        return not_applicable("there is no validation loss")
    first = min(len(train), FEWEST_EPOCHS)
    if (valid[:first] < train[:first]).all():
        why = "train is the mean while the weights moved, half an epoch behind, " if running else ""
        return tip(
            f"validation loss is below training loss in the first {first} epochs: {why}"
            "and dropout may be on in training",
            "measure training data like validation data: model.eval(), at the epoch's end",
        )
    return passed()


@rule("BCE026", "overfitting", "validation loss does not rise for long", target="log")
def overfitting(log: Log) -> Outcome:
    """BCE026: persistence and size, since one epoch up is noise."""
    valid, decompositions = log.valid, log.decompositions
    if valid is not None and decompositions is not None and len(decompositions) != len(valid):
        raise ValueError(f"valid has {len(valid)} epochs and decompositions {len(decompositions)}")
    if valid is None or len(valid) < 2 * FEWEST_EPOCHS:
        return not_applicable(f"needs validation losses of {2 * FEWEST_EPOCHS} epochs")
    best = int(np.argmin(valid))
    rise, certain = _rise(valid, best)
    if certain and rise > 0.05 * valid[best]:
        why, fix, parts = _part_that_rose(decompositions, best)
        return warn(
            f"validation loss rises since epoch {best + 1}, from {valid[best]:.4f} to {valid[best] + rise:.4f} at the "
            f"end{why}",
            f"keep the weights of epoch {best + 1}; {fix}",
            {"best": best + 1, "rise": rise} | parts,
        )
    return passed()


def _rise(valid: np.ndarray, best: int) -> tuple[float, bool]:
    """Return how far the loss has risen since its best epoch, and whether that is not chance.

    The rank test of Mann and Kendall on the epochs after the best: in a curve that only scatters they do not rise. The
    best epoch is the luckiest, so it is left out, and the rise is counted from its neighbours.
    """
    after = valid[best + 1 :]
    n = len(after)
    if n < FEWEST_EPOCHS:
        return 0.0, False
    noise = float(np.median(np.abs(np.diff(valid, 2)))) * 0.6  # a robust standard deviation: 1.48 / sqrt(6)
    if n < 7:  # too few for the test: each of them must be higher than the one before, by more than noise
        rise = float(after[-1] - valid[best])
        return rise, bool((np.diff(valid[-FEWEST_EPOCHS - 1 :]) > 0).all()) and rise > 6 * noise
    pairs = np.sign(np.subtract.outer(after, after))
    score = float(np.tril(pairs).sum())
    error = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    end, start = float(np.median(after[-max(3, n // 4) :])), float(np.median(valid[max(0, best - 1) : best + 2]))
    return end - start, (score - 1) / error > 3.1  # p < 0.001


@rule("BCE034", "diverging", "the training loss falls", target="log", explains=("BCE026", "BCE035"))
def diverging(log: Log) -> Outcome:
    """BCE034: one epoch up is noise; several to twice the best are not."""
    train = log.train
    if len(train) <= FEWEST_EPOCHS:
        return not_applicable(f"needs more than {FEWEST_EPOCHS} epochs")
    peak = _exploded(train)
    if peak is not None:
        before = float(train[:peak].min())
        return warn(
            f"the training loss jumped from {before:.4g} to {train[peak]:.4g} in epoch {peak + 1}; at the end it is "
            f"{train[-1]:.4g}",
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0), and a smaller learning rate; look at the batches "
            "of that epoch",
            {"epoch": peak + 1, "before": before, "loss": float(train[peak])},
        )
    best = int(np.argmin(train))
    after = train[best:]
    if (
        len(after) > FEWEST_EPOCHS
        and (np.diff(after[-FEWEST_EPOCHS - 1 :]) > 0).all()
        and (train[-1] > max(2 * train[best], 0.1) or train[best] > CLAMP / 10)
    ):
        return warn(
            f"the training loss rose in the last {FEWEST_EPOCHS} epochs, from {train[best]:.4g} in epoch {best + 1} to "
            f"{train[-1]:.4g}",
            "a smaller learning rate; zero_grad() in every step; and is this the loss, not an accuracy?",
            {"best": best + 1, "last": float(train[-1])},
        )
    return passed()


def _exploded(losses: np.ndarray) -> int | None:
    """The first epoch, but for the first, whose loss is far above all before it, and above what knowing nothing costs.

    Of few items one spike may be chance: it has to be several times the worst epoch until then.
    """
    for epoch in range(1, len(losses)):
        worst, best = losses[:epoch].max(), losses[:epoch].min()
        if losses[epoch] > max(EXPLODED * worst, 2 * EXPLODED * best, 2 * LN2):
            return epoch
    return None


def _part_that_rose(decompositions: Sequence[Decomposition] | None, best: int) -> tuple[str, str, dict[str, float]]:
    """Return in words which part rose, what to do, and the numbers."""
    if decompositions is None:
        return "", "where only calibration got worse (torchbce.explain shows it), calibrate instead of stopping", {}
    first, last = decompositions[best], decompositions[-1]
    lost = last.miscalibration - first.miscalibration
    worse = first.discrimination - last.discrimination
    why = f": {lost:+.4f} by miscalibration, {worse:+.4f} by what is left after recalibration"
    fix = (
        "or go on, and calibrate" if worse < 0.1 * lost else "the model overfits: more data, a smaller network, dropout"
    )
    return why, fix, {"miscalibration": lost, "refinement": worse}
