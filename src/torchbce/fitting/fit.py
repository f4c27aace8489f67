"""fit: training of the user's own module, and a loss that is a true mean over items."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchbce.common import processes
from torchbce.fitting.backward import (
    AllReduceBackward,
    Backward,
    SingleProcessBackward,
    WrappedBackward,
    require_mean_over_items,
)
from torchbce.fitting.batches import Unpack, batches_of
from torchbce.fitting.checkpointer import FitCheckpointer
from torchbce.fitting.compiled import compiled_training
from torchbce.fitting.data_parallel import is_data_parallel, unwrap
from torchbce.fitting.distributed_sampler import require_own_rows
from torchbce.fitting.finite_checks import FiniteChecks
from torchbce.fitting.forward import NARROW, Forward, LossFunction, device_of
from torchbce.fitting.identity import identity
from torchbce.fitting.loop import FitLoop
from torchbce.fitting.progress import Progress
from torchbce.fitting.step import TrainStep
from torchbce.fitting.synchronize import broadcast_module, own_part_of_batches, require_same_call
from torchbce.fitting.training_state import TrainingState
from torchbce.losses.bce_with_logits import BCEWithLogitsLoss
from torchbce.monitor.history import Epoch, History

__all__ = ["fit"]

LOOK_INTERVAL = 50  # batches between two looks at the loss, where to look is to wait for it: on a GPU
CHEAP_TO_READ = ("cpu",)  # devices where each loss is looked at


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
        checkpoint: a folder for checkpoints of everything: weights, optimizer, schedule, random numbers, and the
            position in the data. After a kill the same call goes on from there, and ends with the same bits; a finished
            run returns at once, and goes on with more ``epochs``. Ctrl-C, SIGTERM and SIGHUP end a run after a batch
            and a checkpoint.
        checkpoint_every: seconds between checkpoints; the first comes before training, the last after it.
        autocast: ``torch.bfloat16``, or ``torch.float16`` with a gradient scaler; the loss is computed in float32.
        compile: train and evaluate ``torch.compile(module)``; its state keeps the module's own names.
        on_nan: what to do with a batch whose loss is not finite: ``"stop"`` before its step, with an error that names
            its rows, or ``"skip"`` it, as well as one whose gradient is not. On a GPU "stop" looks after every 50
            batches only; "skip" waits for each. Weights that are not finite are never saved.
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
    _check_options(epochs, batch_size, patience, valid, checkpoint_every, on_nan, autocast, optimizer)
    loss_func = BCEWithLogitsLoss() if loss_func is None else loss_func
    with processes.joined(), contextlib.ExitStack() as stack:
        part = own_part_of_batches()
        single_process = part is None
        training = batches_of(data, batch_size, unpack, part)
        validation = None if valid is None else batches_of(valid, batch_size, unpack, part)
        optimizer = optimizer or torch.optim.AdamW(module.parameters())
        wrapped, inner = is_data_parallel(module), unwrap(module)
        evaluates_train = training.in_memory if evaluate_train is None else evaluate_train
        if not single_process:
            require_own_rows(training, sharded)
            require_mean_over_items(loss_func)
            if not wrapped:
                broadcast_module(module)
            if on_epoch is print and not processes.is_first():
                on_epoch = None

        device = device_of(module)
        scaler = torch.amp.GradScaler(device.type) if autocast == torch.float16 else None
        forward = Forward(torch.compile(module) if compile else module, loss_func, device, autocast)  # type: ignore[arg-type]
        interval = 1 if device.type in CHEAP_TO_READ or on_nan == "skip" else LOOK_INTERVAL
        checked = [p for p in module.parameters() if p.requires_grad] if on_nan == "skip" and scaler is None else []
        scale = _scale(scaler)
        backward: Backward
        if single_process:
            backward = SingleProcessBackward(scale, interval == 1, checked)
        elif wrapped:
            backward = WrappedBackward(forward.reduction, scale, checked)
        else:
            backward = AllReduceBackward(module, forward.reduction, scale, interval, checked)
        skips_forward = not single_process and not wrapped
        step = TrainStep(forward, backward, optimizer, scheduler, scaler, single_process, skips_forward)

        known: dict[str, Any] = {}
        if checkpoint is not None or not single_process:
            sources = {"data": training, "valid": validation}
            options = {"seed": seed, "autocast": autocast, "compile": compile}
            known = identity(inner, loss_func, optimizer, scheduler, sources, options)
            if not single_process:
                more = {"epochs": epochs, "patience": patience, "evaluates_train": evaluates_train, "on_nan": on_nan}
                require_same_call(known, sources, more, sharded=sharded)
        checkpointer = None if checkpoint is None else FitCheckpointer(checkpoint, checkpoint_every, known)
        state = TrainingState(inner, optimizer, scheduler, scaler, training, Progress(loss_func))
        loop = FitLoop(
            state=state,
            step=step,
            checks=FiniteChecks(training, state.progress, on_nan == "skip", interval, checkpointer),
            validation=validation,
            epochs=epochs,
            patience=patience,
            evaluates_train=evaluates_train,
            baseline=baseline and forward.convention.plain,
            on_epoch=on_epoch,
            on_step=on_step,
            lockstep=sharded and not single_process,
            checkpointer=checkpointer,
        )
        saved = None
        if checkpointer is not None:
            stack.enter_context(checkpointer.locked())
            saved = checkpointer.load()
            stack.enter_context(loop.stop.handled())
        stack.enter_context(_seeded(seed))
        plain = scheduler is None and on_step is None and single_process and on_nan == "stop"
        if plain and autocast is None and not compile:
            was_compiled = None if saved is None else saved["compiled"]
            state.compiled = compiled_training(module, loss_func, optimizer, training, epochs, was_compiled)
        if state.compiled is not None:
            stack.enter_context(state.compiled)
        return loop.fit_loop(saved)


def _check_options(
    epochs: int,
    batch_size: int,
    patience: int | None,
    valid: Any,
    checkpoint_every: float,
    on_nan: str,
    autocast: torch.dtype | None,
    optimizer: object,
) -> None:
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
    if optimizer is not None and not hasattr(optimizer, "zero_grad"):
        raise TypeError(
            f"optimizer is {optimizer!r}, a {type(optimizer).__name__}; give an optimizer such as "
            "torch.optim.Adam(module.parameters())"
        )


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
