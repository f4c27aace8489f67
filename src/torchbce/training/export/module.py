"""An ensemble as one module, for torch.export: numbers and codes in, probabilities out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torchbce.training.model import Model
from torchbce.training.table.columns import NumericColumn


class ProbabilityModule(nn.Module):
    """Numbers (N, columns) float64, NaN at gaps, and codes (N, columns) int64, to probabilities (N,) float64.

    Codes are the positions of categories in `model.json`, from 1, and 0 for any other.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        numeric = [column for column in model.columns if isinstance(column, NumericColumn)]
        for name in ("low", "high", "mean", "scale"):
            self.register_buffer(name, torch.tensor([getattr(c, name) for c in numeric], dtype=torch.float64))
        places, place = [], 0
        for column in numeric:
            places.append(place)
            place += 1 + column.gaps
        self.gaps = [i for i, column in enumerate(numeric) if column.gaps]
        self.order = sorted(
            range(len(numeric) + len(self.gaps)), key=[*places, *(places[i] + 1 for i in self.gaps)].__getitem__
        )
        self.networks = nn.ModuleList(copy.deepcopy(network) for network in model.ensemble.networks)
        for parameter in self.networks.parameters():  # out of the one tensor that compiled code has them in
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(False)
        self.trees = nn.ModuleList(model.ensemble.trees)
        self.share = model.ensemble.share
        self.slope, self.shift = model.ensemble.scaling

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        missing = numbers.isnan()
        within = torch.minimum(torch.maximum(numbers, self.low), self.high)
        scaled = torch.where(missing, 0.0, within / self.scale - self.mean / self.scale)
        inputs = torch.cat([scaled, missing[:, self.gaps].double()], 1)[:, self.order]
        rows = torch.cat([inputs.float(), codes.float()], 1)
        logit = _mean_logit(torch.cat([network(rows) for network in self.networks], 1).double())
        if self.trees:
            of_trees = _mean_logit(torch.stack([trees(rows) for trees in self.trees], 1))
            logit = (1 - self.share) * logit + self.share * of_trees
        return torch.sigmoid(self.slope * logit + self.shift)


def _mean_logit(logits: Tensor) -> Tensor:
    """The logit of the mean probability, by row."""
    yes, no = (torch.logsumexp(nn.functional.logsigmoid(sign * logits), 1) for sign in (1, -1))
    return yes - no
