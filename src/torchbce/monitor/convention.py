"""What is known of a loss whose values a meter gets: which items count, what its mean divides by, whether it is BCE."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from torchbce.engine.options import Normalize
from torchbce.explanation.statistics.plain_bce import PLAIN, is_plain_bce
from torchbce.losses.fused_loss import FusedLoss
from torchbce.losses.module import LossModule

# Options by which the same answers cost something else than BCE; the last three are other libraries' names.
CHANGES = ("weight", "pos_weight", "label_smoothing", "smoothing", "smooth_factor", "gamma")
COUNTING = (
    "weight",
    "ignore_index",
    "target_threshold",
    "num_classes",
    "class_dim",
)  # what items and targets depend on
READ = (*CHANGES, *COUNTING, "normalize", "alpha")
SILENT = ("reduction", "validate")  # these change no item's loss
CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)


@dataclass(frozen=True)
class Convention:
    """What is known of one loss.

    Attributes:
        name: the loss with its options, by which meters know that they may be merged; None where no loss was given.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``; None where the loss does not say.
        plain: BCE as it is, which may be compared with what the base rate costs.
        known: what the mean divides by follows torchbce's options, as it does for torch's two losses.
        labels: how many a row has, where targets may be numbers of labels and not one value each.
        by_class: torch's cross-entropy: a target is the number of one of several classes, whose weight it has.
        options: those on which items and targets depend, and ``normalize``.
    """

    name: str | None = None
    reduction: str | None = None
    plain: bool = True
    known: bool = False
    labels: int | None = None
    by_class: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, loss_func: object) -> Convention:
        """Read the convention of a loss: a module, a function, or a `functools.partial` of one with its options."""
        if loss_func is None:
            return cls()
        inner, bound = _unwrapped(loss_func)
        options = {**_options(inner), **bound}
        reduction = options.pop("reduction", None)
        ours = _module(inner).startswith("torchbce.") or isinstance(inner, FusedLoss) or _keeps_options(inner)
        return cls(
            name=_described(inner, options),
            reduction=reduction if reduction in ("mean", "sum", "none") else None,
            plain=_is_plain(inner, options),
            known=ours or _name(inner) in PLAIN or isinstance(inner, CLASSES),
            labels=getattr(_uncompiled(loss_func), "num_labels", None),
            by_class=isinstance(inner, CLASSES),
            options={name: options[name] for name in (*COUNTING, "normalize") if options.get(name) is not None},
        )

    @property
    def counts_all(self) -> bool:
        """Return whether every target is an item that counts, as it is."""
        return not self.by_class and not (self.options.keys() - {"weight", "normalize", "class_dim"})

    @property
    def needs_targets(self) -> bool:
        """Return whether a number of items does not say what a mean divides by."""
        return not self.counts_all or "normalize" in self.options

    @property
    def tells_count(self) -> bool:
        """Return whether targets say what a mean divides by."""
        return self.known and self.labels is None

    def divides_by(self, reduction: str, *, masked: bool) -> Normalize | None:
        """Return what the mean divides by; None where the loss does not tell."""
        if reduction != "mean":
            return "valid"  # a sum, or single losses, divide by nothing yet: the mean is of the items that count
        if self.by_class:
            return "weight" if "weight" in self.options else "valid"
        if self.known:
            divisor: Normalize = self.options.get("normalize", "numel")
            return divisor
        if "ignore_index" in self.options or "weight" in self.options:
            return None
        return "valid" if masked else "numel"


def _uncompiled(loss: object) -> object:
    return getattr(loss, "_orig_mod", loss)  # torch.compile


def _unwrapped(loss_func: object) -> tuple[object, dict[str, Any]]:
    """Return the loss inside torch.compile and functools.partial, and the options that those bind."""
    inner: Any = _uncompiled(loss_func)
    bound: dict[str, Any] = {}
    while isinstance(inner, functools.partial):
        inner, bound = _uncompiled(inner.func), {**inner.keywords, **bound}
    if hasattr(inner, "option_tensors"):  # a last layer that is its own loss: its `weight` is the layer's
        tensors = {name: getattr(inner, f"loss_{name}") for name in inner.option_tensors}
        bound = {"reduction": inner.reduction, **inner.options, **tensors, **bound}
        inner = inner.loss
    return inner, bound


def _options(loss: object) -> dict[str, Any]:
    """Return the options of a loss: its attributes and torchbce's options."""
    own = getattr(loss, "options", None)
    options = dict(own) if isinstance(loss, nn.Module) and isinstance(own, dict) else {}
    options |= {name: getattr(loss, name, None) for name in ("reduction", *READ) if name not in options}
    return {name: value for name, value in options.items() if value is not None and not callable(value)}


def _is_plain(loss: object, options: Mapping[str, Any]) -> bool:
    """Return whether it is plain BCE; a loss without a known name, such as a user's function, is taken for it."""
    if any(_changes(options.get(name)) for name in CHANGES) or not is_plain_bce(loss):
        return False
    if _module(loss).startswith(("torch.", "torchbce.")):
        return _name(loss) in PLAIN
    inside: Iterable[nn.Module] = loss.children() if isinstance(loss, nn.Module) else ()
    return all(Convention.of(part).plain for part in inside if _keeps_options(part))


def _keeps_options(loss: object) -> bool:
    """Return whether it is a module of torchbce's or of torch's binary cross-entropy, or of a class made from one."""
    return isinstance(loss, LossModule) or any(kind.__name__ in PLAIN for kind in type(loss).__mro__)


def _changes(value: object) -> bool:
    return value is not None and not (isinstance(value, int | float) and value == 0)


def _described(loss: object, options: Mapping[str, Any]) -> str:
    """Describe a loss, alike where values may be added up; BCE of logits and of probabilities is one loss."""
    name = "BCE" if _name(loss) in PLAIN else _name(loss)
    shown = {name: value for name, value in sorted(options.items()) if name not in SILENT}
    words = ", ".join(f"{name}={_value(value)}" for name, value in shown.items())
    return f"{name}({words})" if words else name


def _value(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    numbers = value.detach().cpu().double()
    if numbers.numel() <= 8:
        return repr(numbers.tolist())
    return f"<{tuple(numbers.shape)}, {hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:8]}>"


def _named(loss: object) -> object:
    """Return what has the loss's name: a function, a module's class, or the function of a module of a fused loss."""
    if type(loss) is LossModule:
        loss = loss.function
    return loss if hasattr(loss, "__name__") else type(loss)


def _name(loss: object) -> str:
    return str(getattr(_named(loss), "__name__", ""))


def _module(loss: object) -> str:
    return str(getattr(_named(loss), "__module__", ""))
