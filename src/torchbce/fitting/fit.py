"""fit: training of the user's own module, and a loss that is a true mean over items."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchbce.common import processes
from torchbce.fitting.agreement import part_of_batches, require_same, same_start
from torchbce.fitting.batches import Unpack, batches_of
from torchbce.fitting.compiled import compiled_training
from torchbce.fitting.forward import NARROW, Forward, LossFunction, device_of
from torchbce.fitting.gradients import Alone, Gradients, Summed, Wrapped, check_divisor
from torchbce.fitting.identity import identity
from torchbce.fitting.keeping import Keeping
from torchbce.fitting.loop import Loop
from torchbce.fitting.sampling import check_parts
from torchbce.fitting.step import Step
from torchbce.fitting.wrappers import is_wrapped, unwrapped
from torchbce.losses.bce_with_logits import BCEWithLogitsLoss
from torchbce.monitor.history import Epoch, History

__all__ = ["fit"]

LOOK_EVERY = 50  # batches, where to look at a loss is to wait for it: on a GPU
READ_EACH = ("cpu",)  # devices where it costs nothing


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
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 300.0,
    autocast: torch.dtype | None = None,
    compile: bool = False,
    on_nan: Literal["stop", "skip"] = "stop",
    sharded: bool = False,
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
        baseline: set False where there are too few items of a class to compare the loss with the base rate's. A loss
            that is weighted, smoothed or not BCE is never compared.
        checkpoint: a folder in which everything is kept: weights, optimizer, schedule, random numbers, and where in the
            data. After a kill the same call goes on there, and ends with the same bits; a finished run returns at once,
            and goes on with more ``epochs``. Ctrl-C, SIGTERM and SIGHUP are obeyed after a batch, once all
            is kept.
        checkpoint_every: seconds between checkpoints; the first comes before training, the last after it.
        autocast: ``torch.bfloat16``, or ``torch.float16`` with a gradient scaler; the loss is computed in float32.
        compile: train and evaluate ``torch.compile(module)``; its state keeps the module's own names.
        on_nan: what to do with a batch whose loss is not finite: ``"stop"`` before its step, with an error that names
            its rows, or ``"skip"`` it, as well as one whose gradient is not. On a GPU "stop" looks after every 50
            batches only; "skip" waits for each. Weights that are not finite are never kept.
        sharded: under several processes: the batches of a DataLoader or iterable are each process's own part.

    Returns:
        A :class:`History` of epochs.

    Raises:
        ValueError: sizes that make no sense, batches that cannot be unpacked, shapes that differ.
        InputError: a loss that is not finite; the message names epoch, batch and rows. A checkpoint of another run, or
            in use by one; data of which each process would see all; a mean that processes cannot add up.
        OutputError: checkpoints cannot be written. Later on that is a warning, and the last good one stays.

    Under ``torchrun`` all processes train one model: tensors and Datasets are shuffled once for all and shared out, so
    that ``batch_size`` is that of all together and the losses are those of one process, to rounding. A module in
    DistributedDataParallel or ``fully_shard`` stays in it. A DataLoader needs a DistributedSampler. Running statistics
    (BatchNorm) are the first process's.

    A DataLoader or iterable goes on in the middle of an epoch by its own ``state_dict`` and ``load_state_dict``; one
    that has none is iterated again, with the random numbers that the epoch began with, up to where it was. The same
    bits need a source that draws no torch numbers between batches while the module does too (dropout), unless it has a
    generator of its own, and workers that are not persistent or draw nothing.

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
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for epochs in (2, 3):  # the second call goes on after the second epoch
        ...     history = fit(net, (X, Y), torchbce.BCELoss(), epochs=epochs, seed=0, on_epoch=None, checkpoint=folder)
        >>> len(history), history.resumed_at
        (3, (3, 0))
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if patience is not None and valid is None:
        raise ValueError("patience needs valid= data: early stopping watches the validation loss")
    if checkpoint_every < 0:
        raise ValueError(f"checkpoint_every is {checkpoint_every}; it is the seconds between checkpoints, from 0")
    if on_nan not in ("stop", "skip"):
        raise ValueError(f"on_nan is {on_nan!r}; it is 'stop' or 'skip'")
    if autocast is not None and autocast not in NARROW:
        raise ValueError(f"autocast is {autocast!r}; it is torch.bfloat16 or torch.float16")
    loss_func = BCEWithLogitsLoss() if loss_func is None else loss_func
    if optimizer is not None and not hasattr(optimizer, "zero_grad"):
        raise TypeError(
            f"optimizer is {optimizer!r}, a {type(optimizer).__name__}; give an optimizer such as "
            "torch.optim.Adam(module.parameters())"
        )
    with processes.joined():
        part = part_of_batches()
        training = batches_of(data, batch_size, unpack, part)
        validation = None if valid is None else batches_of(valid, batch_size, unpack, part)
        optimizer = optimizer or torch.optim.AdamW(module.parameters())
        wrapped = is_wrapped(module)
        inner = unwrapped(module)
        if part is not None:
            check_parts(training, sharded)
            check_divisor(loss_func)
            if not wrapped:
                same_start(module)
            if on_epoch is print and not processes.is_first():
                on_epoch = None

        device = device_of(module)
        scaler = torch.amp.GradScaler(device.type) if autocast == torch.float16 else None
        forward = Forward(torch.compile(module) if compile else module, loss_func, device, autocast)  # type: ignore[arg-type]
        looks = device.type in READ_EACH or on_nan == "skip"
        watched = [p for p in module.parameters() if p.requires_grad] if on_nan == "skip" and scaler is None else []
        gradients: Gradients
        if part is None:
            gradients = Alone(_scale(scaler), looks, watched)
        elif wrapped:
            gradients = Wrapped(forward.reduction, _scale(scaler), watched)
        else:
            gradients = Summed(module, forward.reduction, _scale(scaler), 1 if looks else LOOK_EVERY, watched)
        loop = Loop(
            module=inner,
            step=Step(
                forward,
                gradients,
                optimizer,
                scheduler,
                scaler,
                alone=part is None,
                spares=part is not None and not wrapped,
            ),
            training=training,
            validation=validation,
            epochs=epochs,
            patience=patience,
            evaluates_train=training.in_memory if evaluate_train is None else evaluate_train,
            baseline=baseline and forward.convention.plain,
            on_epoch=on_epoch,
            on_step=on_step,
            skips=on_nan == "skip",
            sharded=sharded and part is not None,
            every=1 if looks else LOOK_EVERY,
        )
        with contextlib.ExitStack() as stack:
            before, whole = None, {}
            if checkpoint is not None or part is not None:
                options = {"seed": seed, "autocast": autocast, "compile": compile}
                known = {"data": training, "valid": validation}
                whole = identity(inner, loss_func, optimizer, scheduler, known, options)
            if part is not None:
                more = {
                    "epochs": epochs,
                    "patience": patience,
                    "evaluates_train": loop.evaluates_train,
                    "on_nan": on_nan,
                }
                require_same(whole, known, more, sharded=sharded)
            if checkpoint is not None:
                loop.keeping = Keeping(checkpoint, checkpoint_every, whole)
                stack.enter_context(loop.keeping.held())
                before = loop.keeping.load()
                stack.enter_context(loop.stop.watched())
            stack.enter_context(_seeded(seed))
            plain = scheduler is None and on_step is None and part is None and on_nan == "stop"
            if plain and autocast is None and not compile:
                how = None if before is None else before["compiled"]
                loop.compiled = compiled_training(module, loss_func, optimizer, training, epochs, how)
            if loop.compiled is not None:
                stack.enter_context(loop.compiled)
            return loop.run(before)


def _scale(scaler: torch.amp.GradScaler | None) -> Callable[[Tensor], Tensor]:
    return (lambda loss: loss) if scaler is None else scaler.scale


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
