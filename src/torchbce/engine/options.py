"""The options of every loss, the ranges of a loss's own parameters, and how both are shown."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple, TypedDict, get_args

import torch
from torch import Tensor

from torchbce.engine.torch_internals import readable

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
Normalizer = Literal["numel", "valid", "weight", "batch"]
Normalize = Normalizer | float | Tensor
NORMALIZERS: tuple[Normalizer, ...] = get_args(Normalizer)


class Options(TypedDict, total=False):
    """The options that every loss has; see `torchbce.functional.binary_cross_entropy_with_logits`."""

    label_smoothing: float
    target_threshold: float | None
    num_classes: int | None
    ignore_index: float | None
    normalize: Normalize
    class_dim: int | None
    validate: str


DEFAULTS: dict[str, object] = {
    "label_smoothing": 0.0,
    "target_threshold": None,
    "num_classes": None,
    "ignore_index": None,
    "normalize": "numel",
    "class_dim": None,
    "validate": "none",
}
CALL = ("input", "target", "mask")  # arguments of each call, which a module does not keep


def known(options: Options, own: Collection[str] = ()) -> Options:
    """Return the options; raise TypeError for a name that is neither a common option nor one of the loss's own."""
    for name in options:
        if name not in Options.__annotations__ and name not in own:
            have = ", ".join(dict.fromkeys([*own, *Options.__annotations__]))
            raise TypeError(f"there is no option {name!r}; there are {have}")
    return options


class Range(NamedTuple):
    """Allowed values of a parameter, and the reason."""

    low: float
    high: float
    why: str
    ends: bool = True  # whether the ends are allowed

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high if self.ends else self.low < value < self.high

    def __str__(self) -> str:
        left, right = "[]" if self.ends else "()"
        top = "infinity)" if self.high == math.inf else f"{self.high:g}{right}"
        return f"{left}{self.low:g}, {top}"


FOCUS = Range(0.0, math.inf, "0 is BCE; larger values down-weight well-classified items more")
SHARE = Range(0.0, 1.0, "the weight of positives, 1 - alpha that of negatives; weights above 1 go to pos_weight")
CLASSES_READ = 4096  # a parameter per class is checked; one per item would cost a pass


def check_ranges(ranges: Mapping[str, Range], options: Mapping[str, object]) -> None:
    """Raise ValueError for an option outside its range; large tensors and those on a GPU are not looked at."""
    for name, allowed in ranges.items():
        value = options.get(name)
        if isinstance(value, Tensor):
            if value.numel() > CLASSES_READ or not value.is_cpu or torch.compiler.is_compiling():
                continue
            readable_value = readable(value)
            values = [] if readable_value is None else readable_value.flatten().tolist()
        else:
            values = [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
        for number in values:
            if not allowed.holds(number):
                raise ValueError(f"{name} is {number:g}; it lies in {allowed}: {allowed.why}")


def defaults(function: Callable[..., Tensor]) -> dict[str, object]:
    """Return the defaults of the common options; probabilities are always checked."""
    return DEFAULTS if function.__name__.endswith("_with_logits") else {**DEFAULTS, "validate": "raise"}


def changed(function: Callable[..., Tensor], options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that differ from their defaults."""
    plain = defaults(function)
    return {n: v for n, v in options.items() if type(v) is not type(plain[n]) or v != plain[n]}


def spell_out(named: type | Callable[..., Tensor], function: Callable[..., Tensor]) -> None:
    """Set the signature of a function with ``**options``, so that `help` shows every option and its default."""
    own = inspect.signature(named.__init__ if isinstance(named, type) else named)  # type: ignore[misc]
    given = [p for p in own.parameters.values() if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    given_already = {*CALL, *(p.name for p in given)}
    others = [p for p in inspect.signature(function).parameters.values() if p.name not in given_already]
    keywords = [p.replace(kind=p.KEYWORD_ONLY) for p in others if p.kind != p.VAR_KEYWORD]
    if len(keywords) < len(others):  # the common options
        common = [name for name in Options.__annotations__ if name not in {p.name for p in keywords}]
        plain = defaults(function)
        kinds = Options.__annotations__
        keyword = inspect.Parameter.KEYWORD_ONLY
        keywords += [inspect.Parameter(n, keyword, default=plain[n], annotation=kinds[n]) for n in common]
    named.__signature__ = inspect.Signature([*given, *keywords])  # type: ignore[union-attr]


def in_words(options: Mapping[str, object]) -> str:
    """Return options as text, as they would be written; large tensors by their shape."""
    shown = {n: v.tolist() if isinstance(v, Tensor) and v.numel() <= 8 else v for n, v in options.items()}
    return ", ".join(f"{n}=<{tuple(v.shape)}>" if isinstance(v, Tensor) else f"{n}={v!r}" for n, v in shown.items())
