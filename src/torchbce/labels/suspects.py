"""What the search for wrong labels keeps of predictions: their points, and of each class the most contradicted items.

One pass and constant memory. Whatever calibration says later, it keeps the order of the logits, so within a class the
items that a prediction contradicts most are known before it is.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from torchbce.explanation.sketch.columns import concatenated
from torchbce.explanation.sketch.logits import finite, logits_of
from torchbce.explanation.sketch.losses import BLOCK
from torchbce.explanation.sketch.points import Points, PointTable
from torchbce.explanation.sketch.worst_items import Worst


class Contradicted:
    """Collects predictions: `add` batches whose values are known to be allowed; keeps `top` items of each class.

    several: why the number of wrong labels is not told of them, where they are of more than one label.
    """

    def __init__(self, from_logits: bool, top: int, several: str = "") -> None:
        self.from_logits, self.top, self.several = from_logits, top, several
        self.count = 0
        self._table = PointTable()
        self._worst = {0: Worst.none(), 1: Worst.none()}

    def add(self, outputs: Tensor, targets: Tensor, weights: Tensor | None, rows: np.ndarray) -> None:
        """Add items, 1-d and of one length; targets are 0 or 1, rows their numbers."""
        for i in range(0, len(outputs), BLOCK):
            part = slice(i, i + BLOCK)
            self._add(
                outputs[part].double(),
                targets[part].double(),
                None if weights is None else weights[part].double(),
                np.asarray(rows[part], np.int64),
            )

    def points(self) -> Points:
        """Return the logits that occur, with the weights of items and positives."""
        return self._table.points()

    def worst(self) -> Worst:
        """Return the most contradicted items; `loss` is how far the logit lies on the side of the other class."""
        return concatenated(self._worst[0], self._worst[1])

    def _add(self, x: Tensor, y: Tensor, w: Tensor | None, rows: np.ndarray) -> None:
        logits = finite(logits_of(x, self.from_logits), self.from_logits)
        self.count += len(x)
        self._table.add(logits, y, w)
        weight = np.ones(len(x)) if w is None else w.numpy()
        for label, worst in self._worst.items():
            against = (-logits if label else logits).numpy()
            least = worst.loss[-1] if len(worst.loss) == self.top > 0 else -math.inf
            positions = np.flatnonzero((y.numpy() == label) & (against >= least) & (weight > 0))
            here = Worst(
                against[positions],
                np.zeros(len(positions), np.int64),
                rows[positions],
                x.numpy()[positions],
                np.full(len(positions), float(label)),
                weight[positions],
            )
            self._worst[label] = worst.and_(here, self.top)
