"""Check the values of a call, after the loss has reported that some are not allowed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchbce.common.encodings import encoding
from torchbce.engine import graph_ops, reference, torch_internals
from torchbce.engine.call import LossCall
from torchbce.engine.torch_internals import readable

ASSERTING = {"cpu", "cuda"}  # devices of which every torch >= 2.6 knows an assertion within a graph


def check_values(input: Tensor, target: Tensor, call: LossCall) -> None:
    """Raise for the first value that is not allowed, among the items that count, where values can be read.

    A graph of torch.compile checks them as it runs, and its error names no position.
    """
    if not torch.compiler.is_compiling() and torch_internals.is_tracing():
        return
    by_class, safe = call.class_dim is not None, reference.SAFE_INPUT
    if call.ignored is not None or (call.mask is not None and not by_class):
        whole = call._replace(class_dim=None, mask=None if by_class else call.mask)
        counted = reference.targets_and_counted(target if by_class else input, target, whole, torch.float64)[1]
        assert counted is not None
        target = torch.where(counted, target, torch.zeros((), dtype=target.dtype, device=target.device))
        input = input if by_class else torch.where(counted, input, safe)
    if call.class_dim is not None:
        _check_class_numbers(target, input.size(call.class_dim))
    if call.loss.checks_input:
        _check_unit_interval("input", input, "logits go to binary_cross_entropy_with_logits")
    if not by_class and (call.target_transform is None or math.isnan(call.target_transform.threshold)):
        _check_target(target)


def _check_target(target: Tensor) -> None:
    """Raise unless targets lie in [0, 1]; this costs a pass, and a synchronisation on a GPU.

    Skipped where values cannot be looked at: meta tensors and tensor subclasses (fake ones among them).
    """
    if target.dtype != torch.bool:
        _check_unit_interval("target", target, "targets are 0, 1 or between")


def _check_class_numbers(target: Tensor, count: int) -> None:
    """Raise unless class numbers are 0 to count - 1."""
    if torch.compiler.is_compiling():
        _require((target >= 0) & (target < count), f"target has class numbers from 0 to {count - 1}")
        return
    tensor = readable(target)
    if tensor is None:
        return
    wrong = ~((tensor >= 0) & (tensor < count))
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"target has class numbers from 0 to {count - 1}, but element {position} is {tensor[position].item()} "
            f"({int(wrong.sum())} of {tensor.numel()} are outside); items to leave out are named by ignore_index"
        )


def _check_unit_interval(name: str, given: Tensor, advice: str) -> None:
    if torch.compiler.is_compiling():
        _require((given >= 0) & (given <= 1), f"all elements of {name} should be between 0 and 1")
        return
    tensor = readable(given)
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
    element = f"element {position}" if position else "it"
    likely = encoding(low, high, name) if name == "target" else None
    advice = advice if likely is None else f"these look like {likely[0]}: write {likely[1]}"
    raise RuntimeError(
        f"all elements of {name} should be between 0 and 1, but {element} is {tensor[position].item():.9g} "
        f"({count} of {tensor.numel()} are outside); {advice}"
    )


def _require(allowed: Tensor, sentence: str) -> None:
    """Let a graph raise where not all values are allowed, without waiting for a GPU."""
    if allowed.device.type not in ASSERTING:
        return
    assert_all = _ASSERT_ALL if graph_ops.needed() else torch_internals.assert_all
    assert_all(allowed, f"{sentence}, but some are not; without torch.compile the same call says which")


_ASSERT_ALL = graph_ops.graph_op("assert_all(Tensor allowed, str message) -> ()", torch_internals.assert_all_beneath)
