"""What a function of the user's can reach and change, and how all of it is put back after it was tried."""

from __future__ import annotations

import collections
import contextlib
import functools
import random
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

LONGEST = 10_000  # a list or dict with more entries is data: it is put back, and what is in it is not looked at
PLAIN = (str, bytes, int, float, complex, type(None), type, types.ModuleType, types.BuiltinFunctionType)
# Reading these changes nothing but random numbers, and they may hold more than memory.
DATA = (torch.utils.data.Dataset, torch.utils.data.DataLoader)
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@contextlib.contextmanager
def surroundings_kept(*things: object) -> Iterator[None]:
    """Put back what functions and objects can reach: weights, gradients, modes, the state of optimizers, schedules and
    scalers, counters, lists and dicts, in closures, globals and attributes.
    """
    put_back: list[Callable[[], None]] = []
    for thing in _reachable(things):
        put_back += _kept(thing)
    try:
        yield
    finally:
        for restore in put_back:
            restore()


def _reachable(things: tuple[object, ...]) -> list[object]:
    """The things and what hangs on them, each once."""
    seen: dict[int, object] = {}
    todo = list(things)
    while todo:
        here = todo.pop()
        if id(here) in seen or isinstance(here, PLAIN + DATA):
            continue
        seen[id(here)] = here  # which keeps it, so that no other gets its id
        todo += _parts(here)
    return list(seen.values())


def _parts(thing: object) -> list[object]:
    if isinstance(thing, Tensor):
        return []
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.FunctionType):
        return _parts_of_function(thing)
    if isinstance(thing, dict):
        return [*thing, *thing.values()] if len(thing) <= LONGEST else []
    if isinstance(thing, list | tuple | set | frozenset | collections.deque):
        return list(thing) if len(thing) <= LONGEST else []
    return [vars(thing)] if _is_looked_into(thing) else []


def _parts_of_function(function: types.FunctionType) -> list[object]:
    if not _is_users(function.__module__):
        return []
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    return [*defaults, *cells, *(function.__globals__[name] for name in _globals_of(function)), vars(function)]


def _kept(thing: object) -> list[Callable[[], None]]:
    """Return what puts an object back, but for what hangs on it."""
    if isinstance(thing, Tensor):
        return _kept_tensor(thing)
    if isinstance(thing, types.FunctionType):
        return _kept_names(thing) if _is_users(thing.__module__) else []
    if isinstance(thing, dict):
        return [functools.partial(_refill, thing, dict(thing))]
    if isinstance(thing, list | collections.deque | set):
        return [functools.partial(_refill, thing, list(thing))]
    if isinstance(thing, np.ndarray):
        return [functools.partial(np.copyto, thing, thing.copy())] if thing.flags.writeable else []
    if isinstance(thing, torch.Generator):
        return [functools.partial(_set_state, thing, thing.get_state())]
    if isinstance(thing, random.Random):
        return [functools.partial(thing.setstate, thing.getstate())]
    if isinstance(thing, np.random.RandomState):
        return [functools.partial(thing.set_state, thing.get_state())]
    if isinstance(thing, np.random.Generator):
        return [functools.partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)]
    return []


def _set_state(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def _kept_tensor(tensor: Tensor) -> list[Callable[[], None]]:
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_inference():
        return []
    values = tensor.detach().clone()
    gradient = tensor.grad if tensor.is_leaf else None
    of_gradient = None if gradient is None or gradient.layout is not torch.strided else gradient.detach().clone()
    requires_grad = tensor.requires_grad

    def restore() -> None:
        if not torch.equal(tensor.detach(), values):
            tensor.data.copy_(values)  # past the version counter, as nothing has changed
        if tensor.is_leaf:
            tensor.requires_grad_(requires_grad)
            tensor.grad = gradient
        if gradient is not None and of_gradient is not None:
            gradient.data.copy_(of_gradient)

    return [restore]


def _kept_names(function: types.FunctionType) -> list[Callable[[], None]]:
    """Return what puts back the names in a function's closure and globals."""
    bound: list[Callable[[], None]] = []
    for cell in function.__closure__ or ():
        if _is_filled(cell):
            bound.append(functools.partial(setattr, cell, "cell_contents", cell.cell_contents))
    for name in _globals_of(function):
        bound.append(functools.partial(function.__globals__.__setitem__, name, function.__globals__[name]))
    return bound


def _refill(container: Any, entries: Any) -> None:
    now = dict(container) if isinstance(container, dict) else list(container)
    if isinstance(now, dict):
        same = list(map(id, now)) == list(map(id, entries)) and all(now[key] is entries[key] for key in now)
    else:
        same = list(map(id, now)) == list(map(id, entries))
    if not same:
        container.clear()
        container.extend(entries) if hasattr(container, "extend") else container.update(entries)


def _globals_of(function: types.FunctionType) -> set[str]:
    """The global names that its code, and the code inside of it, speaks of."""
    todo, names = [function.__code__], set[str]()
    while todo:
        code = todo.pop()
        names.update(code.co_names)
        todo += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names & function.__globals__.keys()


def _is_looked_into(thing: object) -> bool:
    """Return whether attributes are looked at: of modules, what torch trains with, and objects of the user's classes.

    Others, such as a writer of logs with its threads, are not to be touched.
    """
    if not hasattr(thing, "__dict__"):
        return False
    of = type(thing)
    if isinstance(thing, torch.nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler):
        return not isinstance(thing, torch.jit.ScriptModule)
    return (of.__module__ or "").startswith(("torch.amp", "torch.cuda.amp")) or _is_users(of.__module__)


@functools.cache
def _is_users(module: str | None) -> bool:
    """Return whether a module is the user's own, and neither installed nor ours."""
    if module is None or module.split(".")[0] in ("torch", "torchbce", "builtins"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not file.startswith(INSTALLED)


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
