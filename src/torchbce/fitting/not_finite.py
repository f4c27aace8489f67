"""Messages about losses and weights that are not finite: where that comes from, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches, LoaderBatches, TensorBatches

SHOWN = 3  # rows of a kind


def loss_not_finite(loss: float, epoch: int, batches: str, cause: str, checkpoint: str | None) -> InputError:
    """Return the error for a loss. batches: which; cause: as of `in_batch`; checkpoint: the last good one."""
    where = f" in {batches}" if batches else ""
    advice = (
        f": {cause}. Mend or leave out such rows"
        if cause
        else (
            ": the learning rate is too large, or an input or target is not finite; try a tenth of the learning "
            "rate, or look with torch.autograd.set_detect_anomaly(True)"
        )
    )
    more = ", or train without such batches by on_nan='skip'" if cause else ""
    saved = f". Kept before it: {checkpoint}" if checkpoint else ""
    return InputError(f"the loss of epoch {epoch} is {loss}{where}{advice}{more}{saved}")


def weights_not_finite(epoch: int, done: int, cause: str, checkpoint: str | None) -> InputError:
    """Return the error for weights after a step whose loss was finite, and its gradient not."""
    where = f"batch {done} of epoch {epoch}" if done else f"epoch {epoch - 1}"
    return InputError(
        f"the weights are not finite after {where}: {cause or 'a gradient was not finite'}. Mend or leave out such "
        "rows, try a tenth of the learning rate, or train without such batches by on_nan='skip'. Kept before it: "
        f"{checkpoint}"
    )


def in_batch(inputs: Any, target: Any, rows: Sequence[int] | Tensor | None) -> str:
    """Text that names the rows, from 1, whose inputs or targets are not finite."""
    tensors = [*_named_tensors("input", inputs), *_named_tensors("target", target)]
    return "; ".join(text for name, tensor in tensors if (text := _rows(name, tensor, rows)))


def in_output(output: Any, rows: Sequence[int] | Tensor | None) -> str:
    """Text that names rows whose outputs are not finite, though inputs and targets are."""
    rows_text = [text for name, tensor in _named_tensors("output", output) if (text := _rows(name, tensor, rows))]
    advice = "inputs and targets are finite, so the weights are too large: try a tenth of the learning rate"
    return "; ".join([*rows_text, advice]) if rows_text else ""


def in_data(batches: Batches) -> str:
    """Text as of `in_batch` for all tensors in memory; empty for other data."""
    if isinstance(batches, LoaderBatches) and batches.in_memory:
        *inputs, target = batches.loader.dataset.tensors  # type: ignore[attr-defined]
    elif isinstance(batches, TensorBatches):
        *inputs, target = batches.tensors
    else:
        return ""
    return in_batch(inputs, target, None)


def _named_tensors(name: str, part: Any) -> list[tuple[str, Tensor]]:
    if isinstance(part, Tensor):
        return [(name, part)]
    if isinstance(part, Mapping):
        return [pair for key, value in part.items() for pair in _named_tensors(f"{name} {key!r}", value)]
    if isinstance(part, tuple | list):
        alone = len(part) == 1
        return [
            pair for i, value in enumerate(part, 1) for pair in _named_tensors(name if alone else f"{name} {i}", value)
        ]
    return []


def _rows(name: str, tensor: Tensor, rows: Sequence[int] | Tensor | None) -> str:
    if not (tensor.is_floating_point() and tensor.ndim and tensor.numel()):
        return ""
    table = tensor.detach().reshape(len(tensor), -1)
    not_finite = ~table.isfinite()
    positions = not_finite.any(dim=1).nonzero().flatten().tolist()
    if not positions:
        return ""
    shown = []
    for i in positions[:SHOWN]:
        column = int(not_finite[i].int().argmax())
        number = i if rows is None else int(rows[i])
        where = f" in column {column + 1}" if table.shape[1] > 1 else ""
        shown.append(f"row {number + 1} has {name} {table[i, column].item()}{where}")
    rest = f", and {len(positions) - SHOWN} more rows" if len(positions) > SHOWN else ""
    return ", ".join(shown) + rest
