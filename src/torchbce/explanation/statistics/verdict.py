"""Are the probabilities right? What the best line and the miscalibration, with its interval, say together.

A line sees what is wrong on the whole; the cross-fitted miscalibration sees also what no line mends. Where either is
certain, there is no saying that there is no sign of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchbce.explanation.statistics.calibration import Calibration

CERTAIN, A_SIGN = 0.001, 0.05  # p-values
WORTH_MENDING = 0.01  # of the entropy of the base rate


@dataclass(frozen=True)
class Verdict:
    """A finding in a few words, and the numbers it follows from. is_off: certain and worth mending. by_line: a line
    mends it.
    """

    finding: str
    numbers: str
    is_off: bool = False
    by_line: bool = False

    def __str__(self) -> str:
        return f"{self.finding} ({self.numbers})"


def verdict_on(line: Calibration, entropy: float) -> Verdict:
    """Judge a calibration; `entropy` is that of the base rate, beside which a gain is little or not."""
    (a, b), (c, d) = line.slope_interval, line.shift_interval
    numbers = f"slope {line.slope:.2f} ({a:.2f} to {b:.2f}), shift {line.shift:+.2f} ({c:+.2f} to {d:+.2f})"
    if math.isnan(line.p_value):
        return Verdict("too few clusters to tell", f"slope {line.slope:.2f}, shift {line.shift:+.2f}")
    lost, around = line.miscalibration, line.miscalibration_interval
    saved = f"{nats(lost)} nats ({nats(around.low)} to {nats(around.high)})"
    if line.is_off(entropy):
        mended = f"{numbers}): mending it saves {nats(line.gain)} nats per item (p = {line.p_value:.2g}"
        return Verdict(line.direction or "slightly off", mended, is_off=True, by_line=True)
    worth = WORTH_MENDING * entropy
    if around.low > worth:
        return Verdict("off, and not as a line is", f"{numbers}, which does not mend it: {saved}", is_off=True)
    certain = line.p_value < CERTAIN or around.low > 0
    if line.separated:
        finding = "cannot be told, as almost no item contradicts the model"
    elif certain and max(lost, line.gain) > worth:
        finding = "off, by how much is not certain"
    elif certain:
        finding = "off by too little to matter"
    else:
        finding = "a weak sign of miscalibration" if line.p_value < A_SIGN else "no sign of miscalibration"
    return Verdict(finding, f"{numbers}: {saved}, p = {line.p_value:.2g}")


def nats(gain: float) -> str:
    """Return nats with four digits behind the point, or two significant ones where they are fewer."""
    return f"{gain:.4f}" if gain >= 0.001 or gain == 0 else f"{gain:.2g}"
