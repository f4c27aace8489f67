"""What `torchbce train` does where it is not told: network, batches and schedule, by the number of rows.

Chosen on breast cancer, Default, Adult and NYC flights by validation BCE; `benchmarks/quality.py` prints what they
reach.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL = 2_000  # training rows, below which cutting numbers into pieces and dropout do harm


@dataclass(frozen=True)
class Recipe:
    """The choices that a user may make, all made."""

    hidden: list[int]
    pieces: int
    dropout: float
    batch_size: int
    epochs: int
    patience: int
    optimizer: str
    lr: float
    weight_decay: float


def recipe(
    rows: int,
    *,
    hidden: list[int] | None,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    optimizer: str,
    patience: int | None,
) -> Recipe:
    """The user's choices, and for the rest what suits a table with so many training rows."""
    small = rows < SMALL
    sizes = ((SMALL, 32), (20_000, 256), (100_000, 512))
    return Recipe(
        hidden=([32] if small else [128, 128]) if hidden is None else hidden,
        pieces=0 if small else 64,
        dropout=0.0 if small else 0.2,
        batch_size=batch_size or next((size for limit, size in sizes if rows < limit), 1024),
        epochs=epochs or min(max(round(1_000_000 / rows), 15), 60),
        patience=patience or 10,
        optimizer=optimizer,
        lr=lr or {"adamw": 5e-3, "sgd": 0.1}[optimizer],
        weight_decay=0.1 if optimizer == "adamw" else 0.0,
    )
