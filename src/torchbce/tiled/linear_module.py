"""A last layer that is its own loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchbce.engine.options import Normalize, in_words
from torchbce.engine.validate import reduction_named
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.losses.fused_loss import FusedLoss
from torchbce.losses.module import check_names
from torchbce.tiled.linear import SparseTarget, learning_rate, linear_binary_cross_entropy
from torchbce.tiled.problem import LossFunction, check_loss
from torchbce.tiled.topk import linear_topk


class LinearBCELoss(torch.nn.Module):
    r"""A linear layer and the loss of its logits, which are never stored: :func:`torchbce.linear_binary_cross_entropy`.

    It takes the place of the model's last `torch.nn.Linear` and of the loss; the names and the start of ``weight`` and
    ``bias`` are that layer's, and so a state_dict of the one loads into the other.

    Args:
        in_features, num_labels: the sizes of features and of targets.
        bias: whether logits have one.
        loss, reduction, sgd_lr, options: as for the function; tensors among the options become buffers, which move with
            the module and are not part of its state_dict.
        device, dtype: of weight and bias.

    Shape: features (N, in_features); a target as for the function; the loss is 0-d, or (N, num_labels) for ``'none'``.

    Example:
        >>> import torch
        >>> head = LinearBCELoss(8, 100_000, bias=False)
        >>> loss = head(torch.zeros(2, 8), torch.tensor([[3, 70_000], [12, -1]]))
        >>> round(loss.item(), 4)
        0.6931
        >>> logits, labels = head.predict_topk(torch.ones(2, 8), k=5)
    """

    def __init__(
        self,
        in_features: int,
        num_labels: int,
        bias: bool = True,
        *,
        loss: LossFunction = binary_cross_entropy_with_logits,
        reduction: str = "mean",
        sgd_lr: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.in_features, self.num_labels = in_features, num_labels
        self.loss, self.reduction, self.sgd_lr = loss, reduction, sgd_lr
        check_loss(loss)
        ours = isinstance(loss, FusedLoss) or loss.__module__.startswith("torchbce.")
        if ours:  # other functions check their options when called
            check_names(loss, options, "LinearBCELoss")
        reduction_named(reduction)
        if sgd_lr is not None:
            learning_rate(sgd_lr)
        made = torch.nn.Linear(in_features, num_labels, bias=bias, device=device, dtype=dtype)
        self.weight, self.bias = made.weight, made.bias
        tensors = [name for name, value in options.items() if isinstance(value, Tensor) and name != "normalize"]
        self.options = {name: value for name, value in options.items() if name not in tensors}
        self.option_tensors = tuple(tensors)
        for name in tensors:
            self.register_buffer(f"loss_{name}", options[name], persistent=False)

    def reset_parameters(self) -> None:
        """Initialize weight and bias as `torch.nn.Linear` does."""
        torch.nn.Linear.reset_parameters(self)  # type: ignore[arg-type]

    def forward(
        self,
        input: Tensor,
        target: Tensor | SparseTarget,
        mask: Tensor | None = None,
        *,
        normalize: Normalize | None = None,
    ) -> Tensor:
        own = dict(self.options) if normalize is None else {**self.options, "normalize": normalize}
        return linear_binary_cross_entropy(
            input,
            self.weight,
            target,
            linear_bias=self.bias,
            loss=self.loss,
            reduction=self.reduction,
            sgd_lr=self.sgd_lr if self.training else None,
            mask=mask,
            **own,
            **{name: getattr(self, f"loss_{name}") for name in self.option_tensors},
        )

    def predict_topk(self, input: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k labels with the largest logits of each row; see :func:`torchbce.linear_topk`."""
        return linear_topk(input, self.weight, k, linear_bias=self.bias)

    def extra_repr(self) -> str:
        own: dict[str, object] = {"in_features": self.in_features, "num_labels": self.num_labels}
        own |= {} if self.bias is not None else {"bias": False}
        own |= {} if self.reduction == "mean" else {"reduction": self.reduction}
        own |= {} if self.sgd_lr is None else {"sgd_lr": self.sgd_lr}
        own |= {name: getattr(self, f"loss_{name}") for name in self.option_tensors}
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        plain = self.loss is binary_cross_entropy_with_logits
        return in_words({**own, **self.options}) + ("" if plain else f", loss={name}")
