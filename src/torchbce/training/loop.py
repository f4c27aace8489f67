"""The training loop: the article's six lines, and a loss that is a true mean over items."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.common.batch import call, moved
from torchbce.common.errors import InputError
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.losses.bce_with_logits import BCEWithLogitsLoss
from torchbce.monitor.epoch_bce import EpochBCE
from torchbce.training.batches import Batches, Unpack, batches_of
from torchbce.training.history import Epoch, History
from torchbce.training.perceptron import CompiledTraining, compiled_training

__all__ = ["fit"]

LossFunction = Callable[[Tensor, Tensor], Tensor]


def fit(
    module: nn.Module,
    data: Any,
    loss_func: LossFunction | None = None,
    *,
    valid: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    patience: int | None = None,
    evaluate_train: bool | None = None,
    seed: int | None = None,
    unpack: Unpack | None = None,
    on_epoch: Callable[[Epoch], object] | None = print,
    on_step: Callable[[int, int], object] | None = None,
    baseline: bool = True,
) -> History:
    r"""Train a module and say, after each epoch, what its loss is as a true mean over items.

    ``running`` is the mean collected while the weights were moving. Training data in memory are evaluated again at
    the end of each epoch (dropout off), which is ``train``; data that must be loaded anew are not, unless
    ``evaluate_train`` says so. With ``valid``, the module ends with the weights of the best epoch.

    Args:
        module: any module; what it returns goes to ``loss_func``.
        data: tensors ``(inputs, targets)``, a Dataset, a DataLoader, or an iterable of batches. A batch is
            ``(inputs, target)`` or a dict with a key named target, targets, label, labels or y. The other entries of a
            dict go to the arguments of `forward` by their names; a `forward` of one argument gets the dict.
        loss_func: maps (output, target) to a loss; by default :class:`torchbce.BCEWithLogitsLoss`.
        valid: validation data, like ``data``.
        optimizer: by default ``torch.optim.AdamW(module.parameters())``.
        scheduler: a learning-rate schedule, stepped after every batch.
        epochs: the largest number of epochs.
        batch_size: for tensors and Datasets; a DataLoader has its own.
        patience: stop after this many epochs without a better validation loss; by default never.
        evaluate_train: evaluate the training data after each epoch; by default if they are tensors in memory.
        seed: makes the run repeatable; the caller's random numbers are left as they were.
        unpack: turns a batch of another form into ``(inputs, target)``; inputs may be a tuple.
        on_epoch: called with each :class:`Epoch`; by default ``print``. ``None`` is silent.
        on_step: called with the batches done and their number (0 if unknown) in the epoch.
        baseline: set False where there are too few items of a class to compare the loss with the base rate's.

    Returns:
        A :class:`History` of epochs.

    Raises:
        ValueError: sizes that make no sense, batches that cannot be unpacked, shapes that differ.
        InputError: a loss that is not finite; the message names the epoch.

    A plain perceptron (an ``nn.Sequential`` of linear layers with ReLU, SiLU or Tanh between, with SGD, Adam or AdamW
    in their usual form, ``BCEWithLogitsLoss``, or ``BCELoss`` after a sigmoid, and tensors of float32 in memory) is
    trained in compiled code where that saves a second or more: the same steps, to rounding, without Python between
    them.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Sigmoid())
        >>> X, Y = torch.randn(100, 4), torch.randint(2, (100, 1)).float()
        >>> history = fit(net, (X, Y), torchbce.BCELoss(), epochs=2, seed=0, on_epoch=None)
        >>> len(history)
        2
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if patience is not None and valid is None:
        raise ValueError("patience needs valid= data: early stopping watches the validation loss")
    loss_func = BCEWithLogitsLoss() if loss_func is None else loss_func
    if optimizer is not None and not hasattr(optimizer, "zero_grad"):
        raise TypeError(
            f"optimizer is {optimizer!r}, a {type(optimizer).__name__}; give an optimizer such as "
            "torch.optim.Adam(module.parameters())"
        )
    training = batches_of(data, batch_size, unpack)
    validation = None if valid is None else batches_of(valid, batch_size, unpack)
    evaluate_train = training.in_memory if evaluate_train is None else evaluate_train
    optimizer = optimizer or torch.optim.AdamW(module.parameters())

    plain = scheduler is None and on_step is None
    compiled = compiled_training(module, loss_func, optimizer, training, epochs) if plain else None
    history = History()
    best_weights: dict[str, Any] | None = None
    share = math.nan
    with _seeded(seed), contextlib.nullcontext() if compiled is None else compiled:
        for number in range(1, epochs + 1):
            start = time.perf_counter()
            if compiled is None:
                running = _train(module, training, loss_func, optimizer, scheduler, number, on_step)
            else:
                running = _train_compiled(compiled, number)
            seconds = time.perf_counter() - start
            if number == 1:
                share = running.share
            train = evaluate(module, training, loss_func) if evaluate_train else None
            held_out = None if validation is None else evaluate(module, validation, loss_func)
            epoch = Epoch(
                number=number,
                running=running.compute(),
                train=None if train is None else train.compute(),
                valid=None if held_out is None else held_out.compute(),
                baseline=_baseline(share if held_out is None else held_out.share, share) if baseline else math.nan,
                seconds=seconds,
            )
            history.append(epoch)
            if history.best is epoch and validation is not None:
                best_weights = copy.deepcopy(module.state_dict())
            if on_epoch:
                on_epoch(epoch)
            if patience is not None and number - history.best.number >= patience:
                break
    if best_weights is not None:
        module.load_state_dict(best_weights)
    return history


def _train(
    module: nn.Module,
    batches: Batches,
    loss_func: LossFunction,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    epoch: int,
    on_step: Callable[[int, int], object] | None,
) -> EpochBCE:
    """One pass over the training data; returns the running loss."""
    meter = EpochBCE()
    device = _device(module)
    reduction = _reduction(loss_func)
    module.train()
    for step, (inputs, target) in enumerate(batches.shuffled(), 1):
        inputs, target = _on(device, inputs), target.to(device)
        optimizer.zero_grad()
        loss = loss_func(call(module, inputs), target)
        scalar = loss.mean() if loss.ndim else loss
        scalar.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if scheduler:
            scheduler.step()
        meter.update(loss, target if epoch == 1 else None, count=target.numel(), reduction=reduction)
        if on_step:
            on_step(step, len(batches))
    if not meter.count:
        raise ValueError("the training data gave no batches; an iterable must be one that can be iterated anew")
    _check_finite(meter.total, epoch)
    return meter


def _train_compiled(compiled: CompiledTraining, epoch: int) -> EpochBCE:
    """The same, without Python between steps."""
    total, target = compiled.epoch(), compiled.target
    _check_finite(total, epoch)
    meter = EpochBCE()
    mean = torch.tensor(total / len(target), dtype=torch.float64)
    meter.update(mean, target if epoch == 1 else None, count=len(target), reduction="mean")
    return meter


def _check_finite(total: float, epoch: int) -> None:
    if not math.isfinite(total):
        raise InputError(
            f"the loss of epoch {epoch} is {total}: the learning rate is too large, or an input or target is "
            "not finite; try a tenth of the learning rate, or look with torch.autograd.set_detect_anomaly(True)"
        )


@torch.no_grad()
def evaluate(module: nn.Module, batches: Batches, loss_func: LossFunction) -> EpochBCE:
    """The loss over every item, in evaluation mode; the module's mode is restored."""
    meter = EpochBCE()
    device = _device(module)
    reduction = _reduction(loss_func)
    was_training = module.training
    module.eval()
    for inputs, target in batches.in_order():
        target = target.to(device)
        loss = loss_func(call(module, _on(device, inputs)), target)
        if loss.ndim:
            loss = loss.sum() if reduction == "sum" else loss.mean()
        meter.update(loss, target, reduction=reduction)
    module.train(was_training)
    return meter


def _baseline(judged: float, share: float) -> float:
    """Always answering the training data's share of ones, on the data that are judged."""
    inside = 0 <= judged <= 1 and 0 <= share <= 1
    return cross_entropy(judged, share) if inside else math.nan  # other targets have no base rate


def _reduction(loss_func: LossFunction) -> str:
    """What a 0-d loss is; a loss function that does not say is taken for a mean, as torch's default is."""
    return "sum" if getattr(loss_func, "reduction", "mean") == "sum" else "mean"


def _device(module: nn.Module) -> torch.device:
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def _on(device: torch.device, inputs: Any) -> Any:
    return moved(inputs, lambda tensor: tensor.to(device))


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
