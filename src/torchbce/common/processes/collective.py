"""What processes tell each other. Alone there is one, and everything is told to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from torchbce.common.errors import InputError, OutputError
from torchbce.common.processes.ranks import is_first, local_rank, rank, world_size

Value = TypeVar("Value")
SHOWN = 60  # characters of a value that differs


def from_first(make: Callable[[], Value]) -> Value:
    """Call `make` in the first process and return its result in all; its error is raised in all."""
    if world_size() == 1:
        return make()
    result_and_error: list[Any] = [None, None]
    if is_first():
        try:
            result_and_error[0] = make()
        except Exception as error:  # raised below, in all
            result_and_error[1] = error
    distributed.broadcast_object_list(result_and_error)
    result, failure = result_and_error
    if failure is not None:
        raise failure
    return result  # type: ignore[no-any-return]


def in_all(make: Callable[[], Value]) -> Value:
    """Call `make` in every process; an error of one is raised in all, so that none waits for one that ended."""
    if world_size() == 1:
        return make()
    made: list[Value] = []
    failed: Exception | None = None
    try:
        made.append(make())
    except Exception as error:  # raised below, in all
        failed = error
    kind = type(failed) if isinstance(failed, InputError | OutputError) else RuntimeError
    failures = all_gather(None if failed is None else (kind, str(failed)))
    if failed is not None:
        raise failed
    for process, failure in enumerate(failures):
        if failure is not None:
            raise failure[0](f"process {process}: {failure[1]}")
    return made[0]


def require_same(values: Mapping[str, object]) -> None:
    """Raise unless all processes have the same values, by the names that a user knows.

    Raises:
        InputError: in all of them; it names what differs, and the processes.
    """
    if world_size() == 1:
        return
    processes = all_gather({name: str(value) for name, value in values.items()})
    names = dict.fromkeys(name for process in processes for name in process)
    by_name = {name: [process.get(name, "(not there)") for process in processes] for name in names}
    different = [_difference(name, texts) for name, texts in by_name.items() if len(set(texts)) > 1]
    if different:
        raise InputError(
            f"the {world_size()} processes do not train on the same: {'; '.join(different)}; start all with the same "
            "command, table and versions"
        )


def _difference(name: str, values: list[str]) -> str:
    """Return which processes have which value; of long values, the text near their first difference."""
    same = next((i for i, some in enumerate(zip(*values, strict=False)) if len(set(some)) > 1), 0)
    first = max(0, same - SHOWN // 2) if max(map(len, values)) > SHOWN else 0
    by_value: dict[str, list[str]] = {}
    for process, value in enumerate(values):
        by_value.setdefault(value, []).append(str(process))
    shown = (
        f"{'...' * (first > 0)}{value[first : first + SHOWN]}{'...' * (len(value) > first + SHOWN)} in "
        f"process{'es' * (len(processes) > 1)} {', '.join(processes)}"
        for value, processes in by_value.items()
    )
    return f"{name} is {' and '.join(shown)}"


def own_share(items: list[Value]) -> Mapping[int, Value]:
    """Items that this process works on, by their numbers."""
    return {i: item for i, item in enumerate(items) if i % world_size() == rank()}


def gather_shared(own: Mapping[int, Value]) -> list[Value]:
    """Results of all processes for the items of `own_share`, in the items' order."""
    results = {i: value for part in all_gather(own) for i, value in part.items()}
    return [results[i] for i in sorted(results)]


def first_then_rest(work: Callable[[], Value]) -> Value:
    """Run `work` on the first process, then once per machine, then on the rest; an error of one is raised in all."""
    if world_size() == 1:
        return work()
    from_first(lambda: bool(work()))
    result = in_all(lambda: work() if local_rank() == 0 else None)
    return in_all(lambda: work() if result is None else result)


def all_gather(own: Value) -> list[Value]:
    """Every process's value, by rank."""
    values: list[Any] = [own]
    if world_size() > 1:
        values *= world_size()
        distributed.all_gather_object(values, own)
    return values


def all_gather_tensor(own: Tensor) -> Tensor:
    """Every process's tensor, of one shape and dtype, as (processes, *shape)."""
    gathered = torch.empty(world_size() * own.numel(), dtype=own.dtype)
    distributed.all_gather_into_tensor(gathered, own.reshape(-1))
    return gathered.view(world_size(), *own.shape)


def send_receive(other: int, own: Tensor) -> Tensor:
    """Send a tensor to the process of rank `other`, and return its tensor, of the same shape and dtype."""
    received = torch.empty_like(own)
    sent = distributed.isend(own, other)
    distributed.recv(received, other)
    if sent is not None:
        sent.wait()
    return received


def sum_over_processes(*numbers: float) -> list[float]:
    """Sum of each number over all processes, in float64."""
    if world_size() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64, device=collective_device())
    distributed.all_reduce(sums)
    return sums.tolist()


def any_process(condition: bool) -> bool:
    """Return whether the condition holds in any process."""
    return sum_over_processes(float(condition))[0] > 0


def collective_device() -> torch.device:
    """Device of tensors in collective calls: this process's GPU under NCCL, else the CPU."""
    on_gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
