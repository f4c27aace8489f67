"""What a batch is, and how a module is called with it: the same in `fit` and in `check`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin

from torch import Tensor, nn

TARGET_NAMES = ("target", "targets", "label", "labels", "y")

_POSITIONAL, _EITHER = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD

Batch = tuple[Any, Any]


def unpack(batch: Any) -> Batch:
    """Return (inputs, target) of a batch: a sequence whose last part is the target, or a dict with a target key.

    Several inputs come as a tuple, those of a dict as a dict.
    """
    if isinstance(batch, Mapping):
        targets = [key for key in batch if str(key).lower() in TARGET_NAMES]
        if len(targets) != 1 or len(batch) < 2:
            raise ValueError(
                f"the batch is a dict with the keys {list(batch)}; exactly one of them must be the target, named "
                f"{', '.join(TARGET_NAMES)}, and the others are the inputs; otherwise make it (inputs, target) before, "
                "in fit by unpack=lambda batch: (batch['inputs'], batch['my_target'])"
            )
        return {key: value for key, value in batch.items() if key != targets[0]}, batch[targets[0]]
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes) and len(batch) >= 2:
        inputs = tuple(batch[:-1])
        return inputs[0] if len(inputs) == 1 else inputs, batch[-1]
    what = f"of type {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, Sequence) else "")
    raise ValueError(
        f"the batch is {what}; it must be (inputs, target), or a dict with a key named {', '.join(TARGET_NAMES)}; "
        "write (inputs, target), or in fit give unpack=lambda batch: (inputs, target)"
    )


def with_targets(batch: Any, change: Callable[[Any], Any]) -> Any:
    """Return the batch, a sequence or a dict, with its targets changed."""
    if isinstance(batch, Mapping):
        return {name: change(v) if str(name).lower() in TARGET_NAMES else v for name, v in batch.items()}
    return type(batch)([*batch[:-1], change(batch[-1])])


def call(module: nn.Module, inputs: Any) -> Any:
    """Call a module with a batch's inputs.

    A tuple is several arguments, unless `forward` takes one. The entries of a dict are arguments where `forward` has
    their names; where it takes one argument, it gets the dict's only entry or, of several, the dict.
    """
    if isinstance(inputs, Mapping):
        return _call_by_name(module, inputs)
    if not isinstance(inputs, tuple | list) or (len(inputs) > 1 and _takes_one(module)):
        return module(inputs)
    return module(*inputs)


def _takes_one(module: nn.Module) -> bool:
    parameters = _parameters(module)
    return len(parameters) == 1 and parameters[0].kind in (_POSITIONAL, _EITHER)


def _call_by_name(module: nn.Module, inputs: Mapping[Any, Any]) -> Any:
    parameters = _parameters(module)
    named = {p.name for p in parameters if p.kind in (_EITHER, p.KEYWORD_ONLY)}
    others = any(p.kind is p.VAR_KEYWORD for p in parameters)
    needed = {p.name for p in parameters if p.name in named and p.default is p.empty}
    names = set(inputs)
    if all(isinstance(name, str) for name in names) and (names <= named or others) and needed <= names:
        return module(**inputs)
    plain = [p for p in parameters if p.kind in (_POSITIONAL, _EITHER)]
    if len(plain) == 1 and needed <= {plain[0].name}:
        alone = len(inputs) == 1 and not _wants_a_dict(plain[0])
        return module(next(iter(inputs.values())) if alone else inputs)
    raise ValueError(
        f"the batch has the inputs {sorted(map(str, names))}, and {type(module).__name__}.forward takes "
        f"({', '.join(p.name for p in parameters)}): give its arguments their names, or the batch as "
        "(first, second, ..., target)"
    )


def swallowed_by(module: nn.Module, inputs: Any) -> list[str]:
    """Return the entries of a dict that have no argument of their own, and go to ``**rest``."""
    if not isinstance(inputs, Mapping):
        return []
    parameters = _parameters(module)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return []
    return [str(name) for name in inputs if name not in {p.name for p in parameters}]


def _wants_a_dict(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    if isinstance(kind, str):
        return kind.lower().startswith(("dict", "mapping", "typing.dict", "typing.mapping"))
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of the user's own `forward`, inside of what torch wraps around it."""
    inner = getattr(module, "_orig_mod", module)  # torch.compile
    inner = getattr(inner, "module", inner) if type(inner).__name__.endswith("DataParallel") else inner
    try:
        return list(inspect.signature(inner.forward).parameters.values())
    except (TypeError, ValueError):  # compiled code may not say
        return [inspect.Parameter("inputs", inspect.Parameter.VAR_KEYWORD)]


def moved(inputs: Any, move: Any) -> Any:
    """Return inputs with every tensor as `move` returns it."""
    if isinstance(inputs, Tensor):
        return move(inputs)
    if isinstance(inputs, Mapping):
        return {name: moved(part, move) for name, part in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(moved(part, move) for part in inputs)
    return inputs
