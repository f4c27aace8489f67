"""Binary cross-entropy of a linear layer."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from torchbce.common.processes.ranks import world_size
from torchbce.engine.options import Normalize
from torchbce.engine.overrides import not_compiled
from torchbce.engine.validate import number
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.tiled.autograd import compute
from torchbce.tiled.problem import Head, LossFunction, problem_of

SparseTarget = tuple[Tensor, Tensor]


@not_compiled("linear_binary_cross_entropy goes tile by tile: call it outside of what is compiled")
def linear_binary_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor | SparseTarget,
    *,
    linear_bias: Tensor | None = None,
    loss: LossFunction = binary_cross_entropy_with_logits,
    reduction: str = "mean",
    normalize: Normalize | None = "numel",
    sgd_lr: float | None = None,
    **options: Any,
) -> Tensor:
    r"""Binary cross-entropy of the logits ``input @ linear_weight.T + linear_bias``, which are never stored.

    The same value and gradients as ``loss(torch.nn.functional.linear(input, linear_weight, linear_bias), target)``, in
    the memory of one tile of logits (24 MiB, on a GPU 512) instead of a few times N x C: forward makes one tile after
    the other, and of each at once the loss and its part of all gradients. For many labels, or all pairs of two batches.

    Args:
        input: features (N, D); float16 to float64. Products of 16-bit numbers are added up in float32.
        linear_weight: (C, D), one row per label; the weight of a `torch.nn.Linear`, or an embedding's.
        target: a matrix (N, C) of any dtype; or only the positives, and every other target is 0: ``(rows, columns)``,
            two vectors; integers (N, K), the numbers of each row's labels, padded with -1 (where K would be C, with one
            more column of -1: a matrix of (N, C) holds targets); or a sparse tensor (N, C), such as
            `torch.sparse_csr_tensor`, whose values are the targets. A pair that is listed twice is one positive;
            values of a sparse tensor that stand twice are added up, as ``to_dense()`` does.
        linear_bias: (C,).
        loss: a function of logits and targets, called for each tile: torchbce's losses ``..._with_logits``, your own
            :func:`torchbce.fused_loss`, or any whose value for ``reduction='sum'`` is a sum over items.
        reduction: ``'none'`` (N, C), ``'mean'`` or ``'sum'``.
        normalize: what ``mean`` divides by, as for
            :func:`torchbce.functional.binary_cross_entropy_with_logits`: ``'numel'`` N x C, ``'batch'`` N, ...
        sgd_lr: backward takes a step of plain SGD with this learning rate for weight and bias, block by block, and
            stores no gradient of theirs; their ``.grad`` stays None, so the optimizer leaves them alone. Whatever runs
            backward through the loss takes the step, `torch.autograd.grad` too; a loss that is scaled takes a scaled
            step. It costs a second product for the logits.
        options: of the loss: ``weight``, ``pos_weight``, ``mask``, ``label_smoothing``, ``ignore_index`` ...; tensors
            broadcast to (N, C).

    Returns:
        0-d, or (N, C) for ``'none'``; the wider dtype of input and target, at least float32 under autocast.

    Raises:
        TypeError: not a tensor, or a loss of probabilities.
        ValueError: shapes that do not fit; a positive outside the matrix, with its row and column.
        RuntimeError: dtypes or devices that differ.

    A gradient of the gradient (``create_graph=True``), torch.func and tensor subclasses store the logits, by plain
    torch; the last two need a target that is a matrix of floating point. torch.compile leaves the call out of its
    graph.

    Example:
        >>> import torch
        >>> features, weight = torch.ones(2, 3), torch.zeros(5, 3, requires_grad=True)
        >>> positives = torch.tensor([[4, -1], [0, 2]])
        >>> loss = linear_binary_cross_entropy(features, weight, positives)
        >>> loss
        tensor(0.6931, grad_fn=<_TiledBackward>)
        >>> loss.backward(); weight.grad[:, 0]
        tensor([0.0000, 0.1000, 0.0000, 0.1000, 0.0000])
    """
    head = Head(input, linear_weight, linear_bias)
    problem = problem_of(head, target, loss, reduction, normalize, options)
    if sgd_lr is None:
        return compute(head, problem)
    if reduction == "none":
        raise ValueError("sgd_lr is for a reduced loss; with reduction='none' there is no one gradient to step by")
    rate = learning_rate(sgd_lr)
    for name, tensor in (("linear_weight", linear_weight), ("linear_bias", linear_bias)):
        if tensor is not None and not tensor.is_leaf:
            raise ValueError(
                f"sgd_lr takes a step for {name} itself, which is made from other tensors here: its step would be "
                "lost; pass the parameter, or leave sgd_lr out"
            )
    if world_size() > 1:
        raise ValueError("sgd_lr is for one process: each of several would step by its own rows alone; leave it out")
    return compute(head, problem, rate)


def learning_rate(sgd_lr: float) -> float:
    """Return a checked learning rate."""
    rate = number("sgd_lr", sgd_lr)
    if not 0 <= rate < math.inf:
        raise ValueError(f"sgd_lr is {rate:g}; a learning rate is at least 0 and finite")
    return rate
