"""Wrap an ensemble as one module for torch.export, from numbers and codes to probabilities."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torchbce.table.columns.columns import NumericColumn, known_codes, level_count
from torchbce.table.model import Model


class ProbabilityModule(nn.Module):
    """Map numbers (N, columns) float64, NaN at gaps, and codes (N, columns) int64 to probabilities (N,) float64.

    Codes are the positions of categories in `model.json`, from 1; 0 for a gap or a rare category, -1 for an unknown
    one. A 0 of which the training rows had too few is unknown too; see `ensemble.background`.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor
    known: Tensor  # which codes of each column training rows had
    background: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        numeric = [column for column in model.columns if isinstance(column, NumericColumn)]
        for name in ("low", "high", "mean", "scale"):
            self.register_buffer(name, torch.tensor([getattr(c, name) for c in numeric], dtype=torch.float64))
        starts, start = [], 0
        for column in numeric:
            starts.append(start)
            start += 1 + column.gaps
        self.gaps = [i for i, column in enumerate(numeric) if column.gaps]
        self.order = sorted(
            range(len(numeric) + len(self.gaps)), key=[*starts, *(starts[i] + 1 for i in self.gaps)].__getitem__
        )
        assert model.ensemble.background is not None, "a model without values for unknown cells"
        self.register_buffer("background", torch.from_numpy(model.ensemble.background))
        coded = [column for column in model.columns if not isinstance(column, NumericColumn)]
        known = torch.zeros(len(coded), max(map(level_count, coded), default=1), dtype=torch.bool)
        for i, coded_column in enumerate(coded):
            known[i, known_codes(coded_column)] = True
        self.register_buffer("known", known)
        self.has_gaps = [column.gaps for column in numeric]
        self.networks = nn.ModuleList(copy.deepcopy(network) for network in model.ensemble.networks)
        for parameter in self.networks.parameters():  # copies out of the flat tensor of compiled code
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(False)
        self.trees = nn.ModuleList(model.ensemble.trees)
        self.share = model.ensemble.tree_weight
        self.slope, self.shift = model.ensemble.scaling

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        missing = numbers.isnan()
        within = torch.minimum(torch.maximum(numbers, self.low), self.high)
        at_gap = torch.where(torch.tensor(self.has_gaps, device=numbers.device), 0.0, torch.nan)
        scaled = torch.where(missing, at_gap, within / self.scale - self.mean / self.scale)
        inputs = torch.cat([scaled, missing[:, self.gaps].double()], 1)[:, self.order]
        seen = self.known[torch.arange(len(self.known), device=codes.device), codes.clamp(min=0)] & (codes >= 0)
        rows = torch.cat([inputs.float(), torch.where(seen, codes.float(), torch.nan)], 1)
        positions = rows.isnan().any(1).nonzero()[:, 0]
        positions = torch.cat([positions.new_zeros(1), positions])  # torch.export needs a row
        incomplete = rows[positions].unsqueeze(1)
        copies = torch.where(incomplete.isnan(), self.background, incomplete).flatten(0, 1)
        p, count = self._probability(torch.cat([rows.nan_to_num(), copies])), rows.shape[0]  # len() is a constant
        return p[:count].index_put((positions,), p[count:].reshape(-1, len(self.background)).mean(1))

    def _probability(self, rows: Tensor) -> Tensor:
        logit = _mean_logit(torch.cat([network(rows) for network in self.networks], 1).double())
        if self.trees:
            of_trees = _mean_logit(torch.stack([trees(rows) for trees in self.trees], 1))
            logit = (1 - self.share) * logit + self.share * of_trees
        return torch.sigmoid(self.slope * logit + self.shift)


def _mean_logit(logits: Tensor) -> Tensor:
    """Return the logit of each row's mean probability."""
    yes, no = (torch.logsumexp(nn.functional.logsigmoid(sign * logits), 1) for sign in (1, -1))
    return yes - no
