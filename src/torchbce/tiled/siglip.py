"""open_clip's SigLipLoss, without stored logits."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from torchbce.common.processes.ranks import is_joined
from torchbce.tiled.pairwise import pairwise_sigmoid_loss


class SigLipLoss(torch.nn.Module):
    r"""The sigmoid loss of images and texts with open_clip's constructor: :func:`torchbce.pairwise_sigmoid_loss`.

    open_clip's values and gradients; its ``chunk_size`` keeps the logits of all chunks for backward, this one none.

    Args:
        cache_labels: accepted and not needed.
        rank, world_size: of this process among those that share the batch; with more than one, torch.distributed must
            be initialised.
        dist_impl: ``'bidir'``, ``'shift'``, ``'reduce'`` or ``'gather'``; the value is the same, and texts always go
            round the processes.
        chunk_size: the largest side of a tile of logits; 0 takes tiles of 24 MiB, on a GPU 512.

    Example:
        >>> import torch
        >>> x = torch.nn.functional.normalize(torch.eye(4) + 0.1, dim=1)
        >>> SigLipLoss()(x, x, torch.tensor(10.0), torch.tensor(-10.0), output_dict=True)
        {'contrastive_loss': tensor(0.6941)}

    Source: https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/loss.py
    """

    def __init__(
        self,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        dist_impl: str | None = None,
        chunk_size: int = 0,
    ) -> None:
        super().__init__()
        if dist_impl not in (None, "bidir", "shift", "reduce", "gather"):
            raise ValueError(f"dist_impl is {dist_impl!r}; it is 'bidir', 'shift', 'reduce' or 'gather'")
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 0:
            raise ValueError(f"chunk_size is {chunk_size!r}; it is 0 or more")
        self.rank, self.world_size, self.chunk_size = rank, world_size, chunk_size

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        loss = pairwise_sigmoid_loss(
            image_features,
            text_features,
            logit_scale,
            logit_bias,
            chunk=self.chunk_size or "auto",
            group=self._group(),
        )
        return {"contrastive_loss": loss} if output_dict else loss

    def _group(self) -> distributed.ProcessGroup | None:
        if self.world_size == 1:
            return None
        if not is_joined():
            raise RuntimeError(f"world_size is {self.world_size}: call torch.distributed.init_process_group() first")
        if (distributed.get_rank(), distributed.get_world_size()) != (self.rank, self.world_size):
            raise ValueError(
                f"rank is {self.rank} and world_size {self.world_size}; torch.distributed has "
                f"{distributed.get_rank()} and {distributed.get_world_size()}"
            )
        return distributed.group.WORLD

    def extra_repr(self) -> str:
        return f"rank={self.rank}, world_size={self.world_size}, chunk_size={self.chunk_size}"
