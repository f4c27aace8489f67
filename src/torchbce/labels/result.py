"""LabelErrors: the frozen result of `find_label_errors`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torchbce.common.extras import require_packages
from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks
from torchbce.labels import text as wording

if TYPE_CHECKING:
    import polars

Interval = tuple[float, float]  # 95 %


@dataclass(frozen=True)
class Suspect:
    """An item whose label may be wrong.

    probability, logit, loss: what the model gave, and what it costs as labelled, in nats. saving: how much less the
    other label would cost by the calibrated probability; below 0 where the prediction does not contradict the label.
    chance: that this label is wrong; NaN where it cannot be told. weight: how many items it stands for.
    """

    row: int
    target: int
    probability: float
    logit: float
    loss: float
    saving: float
    chance: float
    weight: float = 1.0


@dataclass(frozen=True)
class ClassErrors:
    """Wrong labels among the items that are labelled `target`.

    noise_rate: the share of the items that truly are of the other class and got this label.
    """

    target: int
    labelled: float
    expected_count: float
    interval: Interval
    noise_rate: float
    noise_rate_interval: Interval


@dataclass(frozen=True)
class LabelErrors(PrintedInNotebooks):
    """Which labels are probably wrong, the likeliest first, and how many there are.

    `labelled` is the number of labels, or the sum of their weights; `expected_count` and the counts of each class are
    in the same unit: sums of the chances of all items. All are NaN where `reason` says why they cannot be told; then
    those items come first whose correction saves most.
    """

    count: int
    labelled: float
    expected_count: float
    interval: Interval
    zeros: ClassErrors
    ones: ClassErrors
    reason: str
    items: tuple[Suspect, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; None for what is not known."""
        values: dict[str, Any] = plain(asdict(self))
        return values

    def frame(self) -> polars.DataFrame:
        """Return the items as a table, the first to look at first."""
        require_packages("frame()", "polars")
        import polars

        kinds = {"row": polars.Int64, "target": polars.UInt8}
        names = list(Suspect.__dataclass_fields__)
        schema = {name: kinds.get(name, polars.Float64) for name in names}
        return polars.DataFrame([asdict(item) for item in self.items], schema=schema)

    def __str__(self) -> str:
        lines = [f"{name:<11} {sentence}" for name, sentence in wording.facts(self)]
        return "\n".join([*wording.item_lines(self), "", *lines])
