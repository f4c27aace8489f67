"""Where networks are trained: the processor, or a GPU that is there."""

from __future__ import annotations

import re

import torch

from torchbce.common.errors import InputError
from torchbce.common.group import number_here


def device_named(name: str) -> torch.device:
    """Return the device `cpu`, `cuda` (under torchrun the one that is this process's) or `cuda:1`.

    Raises:
        InputError: another name; a GPU that is not there.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"the device is {name!r}; it is cpu, cuda, or cuda:1 for the second GPU")
    if name == "cpu":
        return torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    own = name == "cuda"
    number = number_here() if own else int(name.removeprefix("cuda:"))
    if number >= count:
        raise InputError(_missing(f"cuda:{number}", count, of_process=own and number > 0))
    return torch.device("cuda", number)


def _missing(name: str, count: int, *, of_process: bool) -> str:
    if not count:
        why = "this torch was built without CUDA" if torch.version.cuda is None else "no driver or no GPU"
        return f"no CUDA device is to be seen here ({why}), so there is no {name}; the device that there is is cpu"
    there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
    more = "; start as many processes as there are GPUs (torchrun --nproc-per-node)" if of_process else ""
    return f"there is no {name}; the devices that there are are {there}{more}"
