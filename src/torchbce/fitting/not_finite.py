"""A loss that is not finite: where it comes from, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches, LoaderBatches, TensorBatches

SHOWN = 3  # rows of a kind


def not_finite(loss: float, epoch: int, batches: str, found: str, kept: str | None) -> InputError:
    """The error that says so. `batches`: which; `found`: what `in_batch` found; `kept`: the last good checkpoint."""
    where = f" in {batches}" if batches else ""
    known = (
        f": {found}. Mend or leave out such rows"
        if found
        else (
            ": the learning rate is too large, or an input or target is not finite; try a tenth of the learning "
            "rate, or look with torch.autograd.set_detect_anomaly(True)"
        )
    )
    more = ", or train without such batches by on_nan='skip'" if found else ""
    saved = f". Kept before it: {kept}" if kept else ""
    return InputError(f"the loss of epoch {epoch} is {loss}{where}{known}{more}{saved}")


def strange_weights(epoch: int, done: int, found: str, kept: str | None) -> InputError:
    """Weights after a step whose loss was finite, and its gradient not."""
    where = f"batch {done} of epoch {epoch}" if done else f"epoch {epoch - 1}"
    return InputError(
        f"the weights are not finite after {where}: {found or 'a gradient was not finite'}. Mend or leave out such "
        "rows, try a tenth of the learning rate, or train without such batches by on_nan='skip'. Kept before it: "
        f"{kept}"
    )


def in_batch(inputs: Any, target: Any, rows: Sequence[int] | Tensor | None) -> str:
    """The rows, from 1, whose inputs or targets are not finite, in words."""
    given = [*_of("input", inputs), *_of("target", target)]
    return "; ".join(text for name, tensor in given if (text := _rows(name, tensor, rows)))


def in_output(output: Any, rows: Sequence[int] | Tensor | None) -> str:
    """The same of outputs, where inputs and targets are finite."""
    found = [text for name, tensor in _of("output", output) if (text := _rows(name, tensor, rows))]
    advice = "inputs and targets are finite, so the weights are too large: try a tenth of the learning rate"
    return "; ".join([*found, advice]) if found else ""


def in_data(batches: Batches) -> str:
    """The same as of a batch, of tensors in memory."""
    if isinstance(batches, LoaderBatches) and batches.in_memory:
        *inputs, target = batches.loader.dataset.tensors  # type: ignore[attr-defined]
    elif isinstance(batches, TensorBatches):
        *inputs, target = batches.tensors
    else:
        return ""
    return in_batch(inputs, target, None)


def _of(name: str, part: Any) -> list[tuple[str, Tensor]]:
    if isinstance(part, Tensor):
        return [(name, part)]
    if isinstance(part, Mapping):
        return [pair for key, value in part.items() for pair in _of(f"{name} {key!r}", value)]
    if isinstance(part, tuple | list):
        alone = len(part) == 1
        return [pair for i, value in enumerate(part, 1) for pair in _of(name if alone else f"{name} {i}", value)]
    return []


def _rows(name: str, tensor: Tensor, rows: Sequence[int] | Tensor | None) -> str:
    if not (tensor.is_floating_point() and tensor.ndim and tensor.numel()):
        return ""
    table = tensor.detach().reshape(len(tensor), -1)
    strange = ~table.isfinite()
    places = strange.any(dim=1).nonzero().flatten().tolist()
    if not places:
        return ""
    shown = []
    for place in places[:SHOWN]:
        column = int(strange[place].int().argmax())
        number = place if rows is None else int(rows[place])
        where = f" in column {column + 1}" if table.shape[1] > 1 else ""
        shown.append(f"row {number + 1} has {name} {table[place, column].item()}{where}")
    rest = f", and {len(places) - SHOWN} more rows" if len(places) > SHOWN else ""
    return ", ".join(shown) + rest
