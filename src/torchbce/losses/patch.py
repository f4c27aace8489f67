"""Patch torch's own names of these losses with ours, so that existing code gains without an edit."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from types import FunctionType, TracebackType
from typing import Any

import torch

from torchbce.losses.bce import TORCH_BCE, binary_cross_entropy
from torchbce.losses.bce_with_logits import TORCH_BCE_WITH_LOGITS, binary_cross_entropy_with_logits

__all__ = ["Patch", "patch"]


class Replacement(functools.partial[Any]):
    """A loss of ours under torch's name.

    Equal to the function of torch that it stands for, so that an override (`__torch_function__`, a mode) that looks it
    up in a table finds it, whether the table was made before the patch or after it. To `inspect` it is a function:
    `torch.jit.script` takes no other callable.
    """

    torchs: Callable[..., Any]
    __class__ = property(lambda self: FunctionType)

    def __new__(cls, torchs: Callable[..., Any], ours: Callable[..., Any]) -> Replacement:
        self = super().__new__(cls, ours)
        self.torchs = torchs
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, name, getattr(torchs, name))
        for name in ("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__signature__"):
            setattr(self, name, getattr(ours, name))
        self.__prepare_scriptable__ = lambda: torchs  # type: ignore[attr-defined]
        return self

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.torchs

    def __hash__(self) -> int:
        return hash(self.torchs)

    def __reduce__(self) -> str:
        return self.torchs.__name__  # pickled as torch's function is: by its name

    def __copy__(self) -> Replacement:
        return self

    def __deepcopy__(self, _: object) -> Replacement:
        return self


class Patch:
    """A patch in force. `undo()`, or the end of a `with` block, puts back exactly what was there."""

    def __init__(self, changed: list[tuple[object, Any, Any]]) -> None:
        self._changed = changed

    def undo(self) -> None:
        """Put torch's functions back; a second time does nothing."""
        while self._changed:
            owner, torchs, ours = self._changed.pop()
            _replace(owner, ours, torchs)

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def patch() -> Patch:
    """Run calls of torch's binary cross-entropy in this process on torchbce, until undone.

    ``torch.nn.functional.binary_cross_entropy`` and ``..._with_logits`` are replaced wherever something refers to them:
    in ``torch.nn.functional`` and every module that imported them, by whatever name; as attributes of classes and
    objects; in ``functools.partial``; as values of dictionaries and lists; as defaults of arguments.
    ``torch.nn.BCELoss`` and ``BCEWithLogitsLoss`` call them. So a script, timm or Lightning gains without an edit.
    Modules loaded later find ours in ``torch.nn.functional``.

    Not replaced: references in tuples, sets, closures, ``__slots__`` and the local variables of running functions; what
    ``torch.compile``, ``torch.jit`` or ``torch.fx`` have compiled before; and the operators below these functions,
    ``torch.binary_cross_entropy_with_logits`` and ``torch.ops.aten``.

    Overrides (``__torch_function__`` of subclasses, modes) are offered a function that equals torch's own and ours, so
    that tables keyed by either have it; one that was kept before the patch and is compared by ``is`` does not match.

    Returns:
        A :class:`Patch`, to call ``undo()`` on or to use in ``with torchbce.patch():``.

    Example:
        >>> with patch():
        ...     torch.nn.BCEWithLogitsLoss()(torch.tensor([-15.0]), torch.tensor([0.0]))
        tensor(3.0590e-07)
        >>> torch.nn.BCEWithLogitsLoss()(torch.tensor([-15.0]), torch.tensor([0.0]))
        tensor(0.)
    """
    pairs = ((TORCH_BCE, binary_cross_entropy), (TORCH_BCE_WITH_LOGITS, binary_cross_entropy_with_logits))
    new = {
        id(torchs): Replacement(torchs, ours)
        for torchs, ours in pairs
        if getattr(torch.nn.functional, torchs.__name__) is torchs  # not patched already
    }
    torchs = [function for function, _ in pairs if id(function) in new]
    own = [vars(module) for name, module in list(sys.modules.items()) if name.split(".")[0] == "torchbce"]
    own += [vars(replacement) for replacement in new.values()]
    changed: list[tuple[object, Any, Any]] = []
    for function, owners in zip(torchs, _owners_of(torchs, own), strict=True):
        for owner in owners:
            _replace(owner, function, new[id(function)])
            changed.append((owner, function, new[id(function)]))
    return Patch(changed)


def _owners_of(functions: list[Any], own: list[Any]) -> list[list[Any]]:
    """Return the objects to change for each function: what refers to it, or has it among its attributes or defaults.

    own: what is left as it is.
    """
    ignored = {id(holder) for holder in [*own, functions]}
    referrers = [[r for r in group if id(r) not in ignored] for group in _referrers(functions)]
    indirect = [r for group in referrers for r in group if isinstance(r, staticmethod | tuple | dict)]
    holders = dict(zip(map(id, indirect), _referrers(indirect), strict=True))
    namespaces = [d for r in indirect if isinstance(r, staticmethod) for d in holders[id(r)] if isinstance(d, dict)]
    holders |= zip(map(id, namespaces), _referrers(namespaces), strict=True)

    def owners(referrer: object) -> list[Any]:
        if isinstance(referrer, tuple):
            return [f for f in holders[id(referrer)] if isinstance(f, FunctionType) and f.__defaults__ is referrer]
        if isinstance(referrer, staticmethod):
            return [owner for names in holders[id(referrer)] if isinstance(names, dict) for owner in owners(names)]
        if isinstance(referrer, dict):
            return [owner for owner in holders[id(referrer)] if isinstance(owner, type)] or [referrer]
        return [referrer] if isinstance(referrer, functools.partial | list) or hasattr(referrer, "__dict__") else []

    return [[owner for referrer in group for owner in owners(referrer)] for group in referrers]


def _referrers(objects: list[Any]) -> list[list[Any]]:
    """Return what refers to each of some objects, by one walk over all that there is: a walk takes long."""
    by_id: dict[int, list[Any]] = {id(value): [] for value in objects}
    for referrer in gc.get_referrers(*objects) if objects else ():
        for known in by_id.keys() & {id(value) for value in gc.get_referents(referrer)}:
            by_id[known].append(referrer)
    return [by_id[id(value)] for value in objects]


def _replace(owner: Any, old: Any, new: Any) -> None:
    """Put `new` where the owner refers to `old`."""
    if isinstance(owner, functools.partial):
        if owner.func is old:
            owner.__setstate__((new, owner.args, owner.keywords, vars(owner)))  # type: ignore[attr-defined]
    elif isinstance(owner, list):
        owner[:] = [new if value is old else value for value in owner]
    elif isinstance(owner, dict):
        owner.update({name: new for name, value in owner.items() if value is old})
    elif isinstance(owner, FunctionType):
        owner.__defaults__ = tuple(new if value is old else value for value in owner.__defaults__ or ())
    else:
        for name, value in list(vars(owner).items()):
            if value is old and isinstance(owner, type):
                setattr(owner, name, new)
            elif value is old:
                vars(owner)[name] = new  # also of objects that refuse assignment, such as frozen dataclasses
            elif isinstance(value, staticmethod) and value.__func__ is old:
                setattr(owner, name, staticmethod(new))
