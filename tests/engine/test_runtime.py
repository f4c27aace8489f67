"""The kernels as a guest in other people's processes: threads, forks, caches, memory, interrupts, missing libraries."""

from __future__ import annotations

import os
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import kernel_guest
import torchbce
from kernel_guest import run
from torchbce import functional
from torchbce.engine import select
from torchbce.engine.numba_cpu import buffers

only_the_kernels = kernel_guest.only_the_kernels


N = 1_000_003


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(0)
    return torch.rand(N), torch.rand(N), torch.randn(N) * 4, (torch.rand(N) < 0.3).float()


def results(data):
    """The bits of every kind of call."""
    probs, soft, logits, hard = data
    found = []
    for function, x, y in (
        (functional.binary_cross_entropy, probs, hard),
        (functional.binary_cross_entropy, probs, soft),
        (functional.binary_cross_entropy_with_logits, logits, soft),
        (functional.binary_cross_entropy_with_logits, logits.double(), hard.bool()),
    ):
        leaf = x.clone().requires_grad_()
        value = function(leaf, y)
        value.backward()
        found += [value.detach(), leaf.grad, function(x, y, reduction="none")]
    return found


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_threads_does_not_change_a_bit(data, threads, whose):
    found = []
    for count in (1, 2, 8):
        threads(count)
        found.append(results(data))
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.fixture(params=["torch's threads", "our threads"])
def whose(request, monkeypatch):
    from torchbce.engine.numba_cpu import threads

    if request.param == "our threads":
        monkeypatch.setattr(threads, "openmp", lambda: None)
        monkeypatch.setattr(select, "_node", lambda: None)  # it calls torch's
    elif threads.openmp() is None:
        pytest.skip("torch does not run on GNU's OpenMP here")


def test_many_python_threads_may_call_at_once(data, whose):
    expected = results(data)
    barrier = threading.Barrier(6)

    def work(_):
        barrier.wait()
        return all(same(results(data), expected) for _ in range(2))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


def test_calls_in_autograds_own_threads(data):
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):  # runs in the backward pass, and calls the loss there
            with torch.enable_grad():
                logits = data[2].clone().requires_grad_()
                functional.binary_cross_entropy_with_logits(logits, data[3]).backward()
            return grad * logits.grad.sum()

    x = torch.ones((), requires_grad=True)
    Inner.apply(x).backward()
    logits = data[2].clone().requires_grad_()
    functional.binary_cross_entropy_with_logits(logits, data[3]).backward()
    assert x.grad == logits.grad.sum()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_after_a_fork_the_child_starts_anew(data):
    expected = functional.binary_cross_entropy(data[0], data[3])  # the pool of the parent has threads now
    child = os.fork()
    if child == 0:
        torch.set_num_threads(2)  # torch's own pool does not survive a fork; ours does
        os._exit(0 if torch.equal(functional.binary_cross_entropy(data[0], data[3]), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Losses(torch.utils.data.Dataset):
    """Computes the loss in a worker."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return functional.binary_cross_entropy(self.data[0], self.data[3])


def test_inside_the_workers_of_a_dataloader(data):
    expected = functional.binary_cross_entropy(data[0], data[3])
    for loss in torch.utils.data.DataLoader(Losses(data), batch_size=None, num_workers=2):
        assert torch.equal(loss, expected)


def test_an_interrupt_stops_a_long_call():
    script = """
        import os; os.environ["TORCHBCE_NODE"] = "0"  # which leaves calls of more than one slice to Python
        import _thread, threading, time, torch, torchbce
        from torchbce.engine.numba_cpu import launch, threads
        x = torch.full((20_000_000,), 0.5)
        y = torch.zeros(20_000_000, dtype=torch.bool)
        loss = torchbce.functional.binary_cross_entropy(x, y)
        run_together, slices = threads.run_together, []
        launch.SLICE = 16
        threads.run_together = lambda *arguments: (run_together(*arguments), slices.append(1), time.sleep(0.1))
        threading.Timer(1.0, _thread.interrupt_main).start()
        try:
            torchbce.functional.binary_cross_entropy(x, y)
        except KeyboardInterrupt:
            threads.run_together = run_together
            print("interrupted", 2 < len(slices) < 100, torchbce.functional.binary_cross_entropy(x, y) == loss)
    """
    found = run(script)
    assert found.stdout == "interrupted True tensor(True)\n", found.stderr


def test_calls_while_the_interpreter_shuts_down():
    script = """
        import atexit, torch, torchbce
        x, y = torch.full((1_000_000,), 0.5), torch.zeros(1_000_000)
        atexit.register(lambda: print(torchbce.functional.binary_cross_entropy(x, y).item()))
    """
    found = run(script)
    assert found.stdout == "0.6931471824645996\n", found.stderr


def allocated(work) -> int:
    """Bytes that torch's operations allocate; larger results of ours are counted by numpy, below."""
    work()  # once before, for what is kept for good
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    operations = (event for event in found.events() if event.name.startswith(("aten::", "[memory]")))
    return sum(max(0, event.self_cpu_memory_usage) for event in operations)


def step(loss, leaf):
    leaf.grad = None
    loss(leaf).backward()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_forward_pass_stores_nothing_and_the_backward_pass_one_gradient(data, reduction, whose):
    small = 64 * 1024
    probs, soft, logits, hard = data
    weight = torch.rand(N)
    for function, x, y in (
        (functional.binary_cross_entropy, probs, hard),
        (functional.binary_cross_entropy, probs, soft),
        (functional.binary_cross_entropy_with_logits, logits, soft),
    ):
        for options in ({}, {"weight": weight}, {"weight": 2.0}):
            loss = partial(function, target=y, reduction=reduction, **options)
            assert allocated(partial(loss, x)) < small
            leaf = x.clone().requires_grad_()
            assert 4 * N <= allocated(partial(step, loss, leaf)) < 4 * N + small


def test_the_gradient_is_the_memory_that_the_forward_pass_filled(data, monkeypatch):
    from torchbce.engine.numba_cpu import launch

    places, forward = [], launch.forward

    def watched(*arguments, **options):
        result = forward(*arguments, **options)
        places.append(result[1].data_ptr())
        return result

    monkeypatch.setattr(launch, "forward", watched)
    monkeypatch.setattr(select, "_node", lambda: None)
    leaf = data[0].clone().requires_grad_()
    functional.binary_cross_entropy(leaf, data[1]).backward()
    assert places == [leaf.grad.data_ptr()]


def test_allocations_are_counted(data):
    assert allocated(lambda: torch.nn.functional.binary_cross_entropy(data[0], data[3])) >= 4 * N


@pytest.mark.parametrize("shape", [(2_000_003,), (2, 3, 600, 700)])
def test_a_large_gradient_is_allocated_once_and_again_where_the_freed_one_lay(shape):
    small = 64 * 1024
    buffers._kept.clear()
    torch.manual_seed(0)
    x, y = torch.randn(shape), (torch.rand(shape) < 0.3).float()
    if len(shape) == 4:
        x, y = x.to(memory_format=torch.channels_last), y.to(memory_format=torch.channels_last)
    leaf = x.requires_grad_()
    step(lambda leaf: functional.binary_cross_entropy_with_logits(leaf, y), leaf)
    expected, place = leaf.grad.double(), leaf.grad.data_ptr()
    assert place % 64 == 0
    tracemalloc.start()
    try:
        loss = functional.binary_cross_entropy_with_logits(leaf, y)  # while the first gradient is in use
        assert 4 * x.numel() <= tracemalloc.get_traced_memory()[0] < 4 * x.numel() + small
        del loss
        for _ in range(3):
            step(lambda leaf: functional.binary_cross_entropy_with_logits(leaf, y), leaf)
            assert leaf.grad.stride() == x.stride()
            assert torch.equal(leaf.grad.double(), expected)
        assert tracemalloc.get_traced_memory()[1] < 4 * x.numel() + 2 * small
    finally:
        tracemalloc.stop()


def test_results_in_use_never_share_memory(data):
    x, y = torch.rand(2_000_000), torch.ones(2_000_000)
    kept = [functional.binary_cross_entropy(x, y, reduction="none") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        kept += pool.map(lambda _: functional.binary_cross_entropy(x, y, reduction="none"), range(8))
    assert len({result.data_ptr() for result in kept}) == len(kept)
    view = kept[0][5:]
    place = kept[0].data_ptr()
    del kept[0]
    assert functional.binary_cross_entropy(x, y, reduction="none").data_ptr() != place
    assert torch.equal(view, kept[1][5:])


def test_freed_results_are_kept_up_to_a_limit():
    x = torch.rand(16_000_000)
    kept = [functional.binary_cross_entropy(x, x, reduction="none") for _ in range(6)]
    del kept
    assert 0 < sum(block.size for block in buffers._kept.values()) <= buffers.MOST


def test_more_items_than_32_bits_count():
    n = 2**31 + 10
    # numpy's zeros that are only read take no memory of their own. All of them cost 0 but the last, which costs 100.
    x, y = (torch.from_numpy(np.zeros(n, dtype)) for dtype in (np.float16, bool))
    y[-1] = True
    assert functional.binary_cross_entropy(x, y, reduction="sum").item() == 100.0


def test_inputs_are_never_written(data):
    before = [tensor.clone() for tensor in data]
    results(data)
    assert all(torch.equal(a, b) for a, b in zip(data, before, strict=True))


def test_the_public_functions_say_which_engine():
    assert torchbce.engine_for(torch.rand(2), torch.rand(2)).name == "cpu"
