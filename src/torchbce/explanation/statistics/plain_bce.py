"""Whether a loss is BCE as it is, so that it may be compared with what always answering the base rate costs."""

from __future__ import annotations

PLAIN = ("BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
CHANGES = ("weight", "pos_weight", "label_smoothing")  # each changes what an answer costs


def is_plain_bce(loss_func: object) -> bool:
    """Return False where weights, smoothing, a focus or another formula of torchbce make the loss another number.

    A loss without a known name, such as a function of the user's own, is taken for BCE.
    """
    options = {**getattr(loss_func, "options", {}), **{name: getattr(loss_func, name, None) for name in CHANGES[:2]}}
    if any(options.get(name) is not None and not _is_zero(options[name]) for name in CHANGES):
        return False
    named = loss_func if hasattr(loss_func, "__name__") else type(loss_func)
    module, name = getattr(named, "__module__", ""), getattr(named, "__name__", "")
    if type(loss_func).__name__ == "FusedLoss":
        return False
    return name in PLAIN or not module.startswith("torchbce.losses")


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and value == 0
