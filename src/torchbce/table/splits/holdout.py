"""Options for the rows that are kept aside for the estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Split = tuple[np.ndarray, np.ndarray]  # the numbers of the rows to learn from, and of those to be judged by


@dataclass(frozen=True)
class Holdout:
    """Rows kept aside for the estimate: another file, a share or folds, at most one; if all None, by the size."""

    file: str | None = None
    share: float | None = None  # 0: none
    folds: int | None = None
