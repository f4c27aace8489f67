"""Why a figure has no interval, where it has none."""

from __future__ import annotations

from torchbce.explanation.statistics.calibration import FEWEST_ITEMS
from torchbce.explanation.statistics.calibration import FEWEST_OF_A_CLASS as FEWEST_FOR_ORDER
from torchbce.explanation.statistics.intervals import FEWEST_OF_A_CLASS
from torchbce.explanation.statistics.sample import Sample

MEANS = ("mean", "base rate")
ORDER = ("D2", "AUC")
PARTS = ("slope", "shift", "separation", "miscalibration")
ALL = (*MEANS, *ORDER, *PARTS)


def reasons(sample: Sample, *, soft: bool, finite: bool) -> dict[str, str]:
    """Return why figures have no interval, by their names."""
    sizes = sample.sizes
    if not finite:
        return dict.fromkeys(ALL, "the loss is not finite")
    if sizes is not None and not sizes.say_enough:
        return dict.fromkeys(ALL, sizes.summary())
    if soft:
        return dict.fromkeys(ALL[1:], "targets between 0 and 1 do not say what happened")
    why: dict[str, str] = {}
    of = "items" if sizes is None else "clusters with items"
    limits = ((MEANS[:1], FEWEST_OF_A_CLASS), (ORDER, FEWEST_FOR_ORDER), (PARTS, FEWEST_FOR_ORDER))
    for names, fewest in limits:
        if sample.rarer < fewest:
            why |= dict.fromkeys(names, f"there are too few {of} of one class: {sample.rarer:.3g}, it takes {fewest}")
    if sample.count < FEWEST_ITEMS:
        why |= dict.fromkeys(PARTS, f"{sample.count:.3g} items are too few: it takes {FEWEST_ITEMS}")
    return why
