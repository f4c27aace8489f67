"""Binary cross-entropy as functions, with the signatures of `torch.nn.functional`."""

from torchbce.losses.bce import binary_cross_entropy
from torchbce.losses.bce_with_logits import binary_cross_entropy_with_logits

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]
