"""Slices of predictions that come in batches: bins are chosen by the first, and sums are taken of each."""

from __future__ import annotations

from torch import Tensor

from torchbce.explanation.sketch.items import Codes
from torchbce.explanation.sketch.logits import probabilities_of
from torchbce.explanation.sketch.losses import item_losses
from torchbce.explanation.slices.bins import Bins, choose_bins
from torchbce.explanation.slices.choose import chosen
from torchbce.explanation.slices.features import Columns
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.slices.table import SliceTable, typical


class SliceCollector:
    """Collects predictions with their features: `add` batches, and `found` says what stands out."""

    def __init__(self, from_logits: bool) -> None:
        self.from_logits = from_logits
        self._table: SliceTable | None = None
        self._bins: list[Bins] = []
        self._left_out: list[tuple[str, str]] = []

    def add(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        features: Columns,
        clusters: Codes | None = None,
    ) -> None:
        """Add items whose values are known to be allowed; the first batch decides where columns are cut."""
        w = None if weights is None else weights.double().numpy()
        if self._table is None:
            cut = {name: choose_bins(name, column) for name, column in features.items()}
            self._bins = [bins for bins in cut.values() if not isinstance(bins, str)]
            self._left_out = [(name, why) for name, why in cut.items() if isinstance(why, str)]
            self._table = SliceTable(self._bins, unit=typical(w), clustered=clusters is not None)
        x, y = outputs.double(), targets.double()
        loss = item_losses(x, y, self.from_logits)
        p = probabilities_of(x, self.from_logits)
        codes = [bins.codes(features[bins.name]) for bins in self._bins]
        self._table.add(codes, loss.numpy(), p.numpy(), w, clusters)

    def found(self) -> Slices | None:
        """Return what stands out; None where there were no items."""
        return None if self._table is None else chosen(self._table, left_out=self._left_out)
