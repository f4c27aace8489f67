"""The numbers to beat: always answering the base rate, and logistic regression on the same rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.training.table.columns import CategoricalColumn, NumericColumn

MAX_ROWS = 200_000  # more teach a linear model nothing, and take minutes


def logistic_regression(
    rows: Tensor, target: Tensor, valid: np.ndarray, columns: list[NumericColumn | CategoricalColumn], seed: int
) -> float:
    """Validation BCE, in nats, of scikit-learn's default logistic regression on the same inputs, codes one-hot."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    levels = [len(column.levels) + 1 for column in columns if isinstance(column, CategoricalColumn)]
    numbers = rows.shape[1] - len(levels)
    blocks = [sparse.csr_matrix(rows[:, :numbers].double().numpy())]
    for i, size in enumerate(levels):
        codes = rows[:, numbers + i].long().numpy()
        blocks.append(sparse.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)), (len(codes), size)))
    inputs = sparse.hstack(blocks, format="csr")
    inputs = inputs if levels else inputs.toarray()
    train = np.flatnonzero(~valid)
    if len(train) > MAX_ROWS:
        train = np.sort(np.random.default_rng(seed).choice(train, MAX_ROWS, replace=False))
    model = LogisticRegression(max_iter=1000).fit(inputs[train], target.numpy()[train])
    logits = torch.from_numpy(model.decision_function(inputs[np.flatnonzero(valid)]))
    return binary_cross_entropy_with_logits(logits, target[torch.from_numpy(valid)]).item()
