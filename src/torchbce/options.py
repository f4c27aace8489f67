"""What a loss may be asked for, validated once, and the texts of the errors.

Where torch refuses something, so does torchbce: the same exception type, torch's own sentence first, then what was
received and what to write instead.
"""

from __future__ import annotations

import inspect
import math
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple, NoReturn, TypedDict, get_args

import torch
from torch import Tensor

from torchbce.encodings import encoding

Reduction = Literal["none", "mean", "sum"]
Normalize = Literal["numel", "valid", "weight", "batch"] | float | Tensor


class Options(TypedDict, total=False):
    """What every loss may be asked for; see `torchbce.functional`."""

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


def known(options: Options, own: Collection[str] = ()) -> Options:
    """The same; raises for a name that is none of them, nor one of the loss's own."""
    for name in options:
        if name not in Options.__annotations__ and name not in own:
            have = ", ".join([*own, *Options.__annotations__])
            raise TypeError(f"there is no option {name!r}; there are {have}")
    return options


class Range(NamedTuple):
    """What a parameter may be, and in words why."""

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


FOCUS = Range(0.0, math.inf, "0 is BCE, and more looks away from items which are easy already")
SHARE = Range(0.0, 1.0, "the weight of positives, 1 - alpha that of negatives; weights above 1 go to pos_weight")
CLASSES_READ = 4096  # values of a parameter that are looked at; one per class, and not one per item


def check_ranges(ranges: Mapping[str, Range], options: Mapping[str, object]) -> None:
    """Every option that has a range lies in it; tensors where looking at them costs nothing."""
    for name, allowed in ranges.items():
        value = options.get(name)
        if isinstance(value, Tensor):
            if value.numel() > CLASSES_READ or not value.is_cpu or torch.compiler.is_compiling():
                continue
            readable = _readable(value)
            values = [] if readable is None else readable.flatten().tolist()
        else:
            values = [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
        for number in values:
            if not allowed.holds(number):
                raise ValueError(f"{name} is {number:g}; it lies in {allowed}: {allowed.why}")


REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


def check_call(
    input: object, target: object, size_average: bool | None, reduce: bool | None, reduction: str
) -> Reduction:
    """The reduction, of a call with two tensors on one device."""
    if not (type(input) is Tensor and type(target) is Tensor and input.is_cpu and target.is_cpu):
        check_tensors(input=input, target=target)
    if reduction in REDUCTIONS and size_average is None and reduce is None:
        return reduction
    return resolve_reduction(size_average, reduce, reduction)


def resolve_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> Reduction:
    """The reduction, from torch's two deprecated flags where given, else from its name."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=5,
        )
    for known in REDUCTIONS:
        if reduction == known:
            return known
    raise ValueError(f"{reduction} is not a valid value for reduction; it is one of {', '.join(map(repr, REDUCTIONS))}")


def check_tensors(**tensors: object) -> None:
    """Input and target are tensors on one device."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}; write torch.as_tensor({name})")
    first, *others = (value for value in tensors.values() if isinstance(value, Tensor))
    if all(other.device == first.device for other in others):
        return
    devices = {name: value.device for name, value in tensors.items() if isinstance(value, Tensor)}
    places = " and ".join(f"{name} on {device}" for name, device in devices.items())
    raise RuntimeError(f"Expected all tensors to be on the same device, but found {places}; move one with .to()")


def check_validate(validate: object, default: bool) -> bool:
    """Whether values are to be checked."""
    if validate is None:
        return default
    if validate not in ("none", "raise"):
        raise ValueError(f"validate is {validate!r}; it is 'none' or 'raise'")
    if default and validate == "none":
        raise ValueError("probabilities are always checked, as that costs nothing; validate='none' is for logits")
    return validate == "raise"


def number(name: str, value: object) -> float:
    """A plain number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    return float(value)


CALL = ("input", "target", "mask")  # what goes to each call, and is no option of a module


def spell_out(module: type, function: Callable[..., Tensor]) -> None:
    """Give a class the signature that `help` shows: every option of its function by name, with its default."""
    own = inspect.signature(module.__init__)  # type: ignore[misc]
    given = [p for p in own.parameters.values() if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    known_already = {*CALL, *(p.name for p in given)}
    rest = [p for p in inspect.signature(function).parameters.values() if p.name not in known_already]
    named = [p.replace(kind=p.KEYWORD_ONLY) for p in rest if p.kind != p.VAR_KEYWORD]
    if len(named) < len(rest):  # the options that every loss has
        common = [name for name in Options.__annotations__ if name not in {p.name for p in named}]
        named += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[n]) for n in common]
    module.__signature__ = inspect.Signature([*given, *named])  # type: ignore[attr-defined]


def in_words(options: Mapping[str, object]) -> str:
    """Options as they would be written; of large tensors the shape."""
    shown = {n: v.tolist() if isinstance(v, Tensor) and v.numel() <= 8 else v for n, v in options.items()}
    return ", ".join(f"{n}=<{tuple(v.shape)}>" if isinstance(v, Tensor) else f"{n}={v!r}" for n, v in shown.items())


def check_weight(name: str, weight: object, target: Tensor) -> None:
    """`weight` or `pos_weight`: a number, or a constant tensor that broadcasts to the target."""
    if (
        type(weight) is Tensor
        and not weight.requires_grad
        and weight.device == target.device
        and (weight.ndim == 0 or weight.size() == target.size()[-weight.ndim :])
    ):
        return  # the usual case, in few steps
    if weight is None or (isinstance(weight, int | float) and not isinstance(weight, bool)):
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must be a Tensor, a number or None, got {type(weight).__name__}")
    if weight.requires_grad:
        raise RuntimeError(
            f"The loss is not differentiable with respect to argument '{name}'. This input cannot have requires_grad "
            f"True; pass {name}.detach()"
        )
    if weight.ndim:
        check_tensors(target=target, **{name: weight})
    # Size by size from the last dimension, as broadcasting goes; the target must not have to grow.
    tail = target.shape[target.ndim - weight.ndim :] if weight.ndim <= target.ndim else ()
    if weight.ndim > target.ndim or any(w not in (1, t) for w, t in zip(weight.shape, tail, strict=True)):
        raise RuntimeError(
            f"{name} of shape {tuple(weight.shape)} does not broadcast to the target of shape {tuple(target.shape)}; "
            f"each of its sizes, counted from the last, must be 1 or the target's{_class_advice(weight, target)}"
        )


def _class_advice(weight: Tensor, target: Tensor) -> str:
    """Where a weight per class lies along another dimension than the last."""
    dims = [dim for dim in range(target.ndim) if weight.ndim == 1 and target.size(dim) == weight.numel()]
    return f": pass class_dim={dims[0]} if these are its classes" if dims else ""


def check_input(input: Tensor, loss: Tensor) -> None:
    """Probabilities lie in [0, 1] and are not NaN. One outside makes the loss NaN, so looking for it costs nothing."""
    values = _readable(loss)
    if values is not None and math.isnan(values.sum().item() if values.ndim else values.item()):
        _check_unit_interval("input", input, "logits go to binary_cross_entropy_with_logits")


def check_target(target: Tensor) -> None:
    """Targets lie in [0, 1] and are not NaN; this costs a pass, and a synchronisation on a GPU.

    Skipped where values cannot be looked at: meta tensors and tensor subclasses (fake ones among them).
    """
    if target.dtype != torch.bool:
        _check_unit_interval("target", target, "targets are 0, 1 or between")


def check_class_numbers(target: Tensor, count: int) -> None:
    """Each is the number of one of so many classes."""
    tensor = _readable(target)
    if tensor is None:
        return
    wrong = ~((tensor >= 0) & (tensor < count))
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"target has class numbers from 0 to {count - 1}, but element {position} is {tensor[position].item()} "
            f"({int(wrong.sum())} of {tensor.numel()} are outside); items to leave out are named by ignore_index"
        )


def _readable(tensor: Tensor) -> Tensor | None:
    """The tensor whose values can be looked at, out of torch.func's wrappers; None if there are none."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and not tensor.is_meta
    return tensor.detach() if plain and tensor.numel() and not _recorded() else None


def _recorded() -> bool:
    """Whether `make_fx` records operations, which takes every value that is read for an error."""
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")
    recording = bool(torch._C._len_torch_dispatch_stack()) and tracer is not None
    return recording and tracer.get_proxy_mode() is not None  # type: ignore[union-attr]


def _check_unit_interval(name: str, given: Tensor, advice: str) -> None:
    tensor = _readable(given)
    if tensor is None:
        return
    low, high = (bound.item() for bound in tensor.aminmax())
    if low >= 0 and high <= 1:  # False for NaN too, which aminmax propagates
        return
    count, first = 0, -1
    pieces = torch.split(tensor.reshape(-1), 1 << 22)  # in pieces, as the tensor may fill the memory
    for number, piece in enumerate(pieces):
        wrong = ~((piece >= 0) & (piece <= 1))
        if count == 0 and wrong.any():
            first = (number << 22) + int(wrong.nonzero()[0])
        count += int(wrong.count_nonzero())
    position = tuple(int(index) for index in torch.unravel_index(torch.tensor(first), tensor.shape))
    place = f"element {position}" if position else "it"
    likely = encoding(low, high, name) if name == "target" else None
    advice = advice if likely is None else f"these look like {likely[0]}: write {likely[1]}"
    raise RuntimeError(
        f"all elements of {name} should be between 0 and 1, but {place} is {tensor[position].item():.9g} "
        f"({count} of {tensor.numel()} are outside); {advice}"
    )


def refuse_dtype(error: Callable[[str], Exception], message: str, **tensors: Tensor) -> NoReturn:
    """A dtype that no loss is defined for."""
    received = ", ".join(f"{name} is {tensor.dtype}" for name, tensor in tensors.items())
    raise error(f"{message}; {received}")
