"""How surprising a loss is to the probabilities it comes from: exact for any number of items.

Given its probability p an item's excess, loss - H(p), has mean 0. Let z = logit(p), a = |z| and q = sigmoid(-a), the
probability of the less likely answer. The excess is a (B - q) with B ~ Bernoulli(q), so its cumulant generating
function is K(t) = log E exp(t excess) = log(1 - q + q exp(t a)) - t a q, and that of a sum is the sum of these. By
Chernoff

    P(sum of excess >= T) <= exp(-(t T - K(t)))    for every t > 0.

exp(t excess - K(t)) is also the likelihood ratio of the logit (1 - t) z against z: the bound asks how much better less
sure probabilities, all logits in the slice times 1 - t, would have told what happened. Targets in [0, 1] with mean p
are less spread than B, so it holds for them too.

K(t) / t^2 grows from the variance / 2 at 0 up to its largest value at t = 2 (Kearns and Saul 1998, whose constant it
is there), so K at a few t bounds it at all others. These sums are all that has to be kept of a slice.
"""

from __future__ import annotations

import numpy as np

KNOTS = np.array([0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0, 2.0])
FARTHEST = 100.0  # the largest |logit|, as each logarithm of a probability is at least -100


def rarer_side(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|logit| and the probability of the less likely answer."""
    q = np.minimum(probabilities, 1 - probabilities)
    with np.errstate(divide="ignore"):
        a = np.minimum(np.log1p(-q) - np.log(q), FARTHEST)
    return a, 1 / (1 + np.exp(a))


def entropy(a: np.ndarray, q: np.ndarray) -> np.ndarray:
    """H(p), the loss that a probability expects of itself, in nats."""
    return np.asarray(np.log1p(np.exp(-a)) + q * a)


def spreads(a: np.ndarray, q: np.ndarray, weights: np.ndarray | None) -> list[np.ndarray]:
    """2 K(t) / t^2 of each item's weighted excess at every knot; at t = 0 its variance.

    A weight may carry t beyond 2, where K(t) / t^2 falls; it is held at its largest, so that the bound holds.
    """
    w = 1.0 if weights is None else weights
    values = [np.asarray(q * (1 - q) * (w * a) ** 2)]
    for knot in KNOTS[1:]:
        t = np.minimum(knot * w, 2.0)
        values.append(np.asarray(2 * (np.log1p(q * np.expm1(t * a)) - t * a * q) * (w / t) ** 2))
    return values


def surprise(total: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """-log of the bound on the chance of a sum of excess as far from 0 on its side. Shapes (...) and (..., knots).

    Between two knots the spread is taken at the upper one, and below 0 at the first above: never too small.
    """
    total, upper = np.asarray(total)[..., None], spread[..., 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        free = total**2 / (2 * upper)  # the best t is total / spread
        held = KNOTS[1:] * total - KNOTS[1:] ** 2 * upper / 2
        largest = np.where((total <= KNOTS[1:] * upper) | (KNOTS[1:] == 2), free, held).max(-1)
    return np.where(total[..., 0] == 0, 0.0, largest)


def best_tilt(total: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the t that maximises t T - K(t), and the maximum: how much less the logits times 1 - t would cost.

    The spread is linear between knots, so K of two slices together is exactly the sum of theirs.
    """
    total = np.asarray(total)[..., None]
    slope = np.diff(spread, axis=-1) / np.diff(KNOTS)
    slope = np.concatenate([np.zeros_like(total), slope, np.zeros_like(total)], -1)
    low, high = np.append(-np.inf, KNOTS), np.append(KNOTS, np.inf)
    start = np.concatenate([spread[..., :1], spread], -1) - slope * np.append(0.0, KNOTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The root of T = start t + 1.5 slope t^2, where the derivative of t T - t^2 (start + slope t) / 2 is 0.
        t = 2 * total / (start + np.sqrt(start**2 + 6 * slope * total))
    t = np.clip(np.where(np.isnan(t), np.where(np.isinf(high), 0.0, high), t), low, high)
    t = np.where(np.isfinite(t), t, 0.0)
    value = t * total - t**2 * (start + slope * t) / 2
    best = value.argmax(-1)[..., None]
    return np.take_along_axis(t, best, -1)[..., 0], np.take_along_axis(value, best, -1)[..., 0]


def split_gain(
    total: np.ndarray,
    spread: np.ndarray,
    parent_total: np.ndarray,
    parent_spread: np.ndarray,
    parent_variance: np.ndarray,
) -> np.ndarray:
    """Return how much less a parent costs with a factor for the slice and one for its rest, than with one for both.

    A log likelihood ratio, 0 where the slice gains no more than its rest. It is divided by how many times the variance
    of the parent's excess is what its factor explains (quasi-likelihood; McCullagh and Nelder 1989, chapter 9): a few
    items that were called impossible vary more than any factor does.
    """
    rest, rest_spread = parent_total - total, np.maximum(parent_spread - spread, 0.0)
    here, gained = best_tilt(total, spread)
    there, rest_gained = best_tilt(rest, rest_spread)
    shared, parent_gained = best_tilt(parent_total, parent_spread)
    level, slope = _line(shared, parent_spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = np.fmax(parent_variance / (level + 2 * shared * slope), 1.0)  # by K''
        more = (gained + rest_gained - parent_gained) / dispersion
    return np.where(here > there, more, 0.0)


def interval(total: np.ndarray, spread: np.ndarray, drop: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of excess expected at the least and the largest t whose likelihood is within `drop` of the best.

    By the same bound, what is expected lies outside with probability at most 2 exp(-drop) if one factor of the logits
    holds in the slice. It leaves out 0 wherever :func:`surprise` is above `drop`.
    """
    t, most = best_tilt(total, spread)
    ends = []
    for sign in (-1.0, 1.0):
        inside, step = t, np.full_like(t, sign * 1e-6)
        for _ in range(50):  # doubling until the likelihood has dropped
            step = np.where(most - _likelihood(t + step, total, spread) < drop, 2 * step, step)
        outside = t + step
        for _ in range(50):
            middle = (inside + outside) / 2
            within = most - _likelihood(middle, total, spread) < drop
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        level, slope = _line(inside, spread)
        ends.append(inside * level + inside**2 * slope / 2)  # K'
    return np.minimum(ends[0], total), np.maximum(ends[1], total)


def _likelihood(t: np.ndarray, total: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.asarray(t * total - t**2 * _line(t, spread)[0] / 2)


def _line(t: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spread at t and its slope there, linear between knots and level beyond them."""
    low = np.clip(np.searchsorted(KNOTS, t, side="right") - 1, 0, len(KNOTS) - 2)
    left, right = (np.take_along_axis(spread, (low + i)[..., None], -1)[..., 0] for i in (0, 1))
    slope = (right - left) / (KNOTS[low + 1] - KNOTS[low])
    held = np.clip(t, KNOTS[0], KNOTS[-1])
    return left + slope * (held - KNOTS[low]), np.where(held == t, slope, 0.0)
