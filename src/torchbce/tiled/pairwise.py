"""The sigmoid loss of all pairs of two batches, as SigLIP has it."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from torchbce.engine.options import Normalize
from torchbce.engine.overrides import not_compiled
from torchbce.engine.validate import check_tensors
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.tiled import ring
from torchbce.tiled.autograd import compute
from torchbce.tiled.problem import Head, problem_of

REDUCTIONS = ("mean", "sum")


@not_compiled("pairwise_sigmoid_loss goes tile by tile: call it outside of what is compiled")
def pairwise_sigmoid_loss(
    x: Tensor,
    y: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float | None = None,
    *,
    positives: str | tuple[Tensor, Tensor] = "diagonal",
    reduction: str = "mean",
    chunk: int | str = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Tensor:
    r"""Binary cross-entropy of the logits ``logit_scale * x @ y.T + logit_bias`` of all pairs (Zhai et al. 2023).

    A pair that belongs together has target 1, every other 0. The B x M logits are never stored: forward makes one tile
    after the other, and of each at once the loss and its part of all gradients.

    Args:
        x, y: features (B, D) and (M, D), in SigLIP of images and texts, each row of length 1.
        logit_scale: a number or a 0-d tensor; the scale itself, not its logarithm.
        logit_bias: a number or a 0-d tensor; SigLIP begins with -10.
        positives: ``'diagonal'``, each row of x belongs to the same row of y; or ``(rows, columns)``, two vectors of
            whole numbers.
        reduction: ``'mean'`` divides by B, the rows of x, as SigLIP does; or ``'sum'``.
        chunk: the largest side of a tile; ``'auto'`` takes tiles of 24 MiB, on a GPU 512.
        group: the processes that share the batch, such as ``torch.distributed.group.WORLD``; None is this process
            alone. The rows of y go round from process to process, so that each holds its own and one other's. The
            processes may have different numbers of rows. Columns of `positives` are then counted over the rows of y of
            all processes, in the order of their ranks.

    Returns:
        0-d, in the dtype of x, at least float32 under autocast. With a group, this process's part: of ``'mean'`` the
        mean over the processes is the loss of the whole batch, and so averaged gradients, as
        DistributedDataParallel makes them, are those of one process with all rows; of ``'sum'`` it is the sum.

    Raises:
        TypeError, ValueError, RuntimeError: shapes, dtypes or devices that do not fit; a pair outside the matrix.

    Example:
        >>> import torch
        >>> x = torch.nn.functional.normalize(torch.eye(4) + 0.1, dim=1)
        >>> round(pairwise_sigmoid_loss(x, x, logit_scale=10.0, logit_bias=-10.0).item(), 4)
        0.6941

    Source: https://arxiv.org/abs/2303.15343
    """
    _check_sides(x, y)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction!r} is not a valid value for reduction; it is 'mean' or 'sum'")
    side = _side(chunk)
    scale, bias = (
        _scalar("logit_scale", logit_scale, x),
        _scalar("logit_bias", 0.0 if logit_bias is None else logit_bias, x),
    )
    scaled = x * scale
    if group is not None and not isinstance(group, distributed.ProcessGroup):
        raise TypeError(f"group is a process group, such as torch.distributed.group.WORLD, got {group!r}")
    if group is not None and distributed.get_world_size(group) != 1:
        return ring.loss(scaled, y, bias, positives, reduction, side, group)
    head = Head(scaled, y, bias.to(y.dtype).expand(y.size(0)))
    target = ring.pairs(positives, x, y, 0)
    problem = problem_of(head, target, binary_cross_entropy_with_logits, reduction, _rows(reduction), {}, side)
    return compute(head, problem)


def _check_sides(x: Tensor, y: Tensor) -> None:
    check_tensors(x=x, y=y)
    if x.ndim != 2 or y.ndim != 2 or x.size(1) != y.size(1):
        raise ValueError(f"x is (B, D) and y (M, D); they have the shapes {tuple(x.shape)} and {tuple(y.shape)}")


def _rows(reduction: str) -> Normalize:
    return "batch" if reduction == "mean" else "numel"


def _side(chunk: int | str) -> int | None:
    if chunk == "auto":
        return None
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}; it is 'auto' or a whole number of at least 1")
    return chunk


def _scalar(name: str, value: Tensor | float, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} is one number, got a tensor of shape {tuple(value.shape)}")
        return value.reshape(())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or a 0-d Tensor, got {type(value).__name__}")
    return torch.tensor(float(value), dtype=like.dtype, device=like.device)
