"""On a real GPU: the losses wait for nothing, are captured, count in 64 bits, and are made from tiles too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import torchbce
from torchbce import functional
from torchbce.engine import select
from torchbce.engine.select import engine_for
from torchbce.tiled import grid

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
BOTH = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]
N, CLASSES = 4096, 12
EPS = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def columns():
    return torch.linspace(0.5, 2, CLASSES, device="cuda")


OPTIONS = {
    "nothing": dict,
    "a number": lambda: {"weight": 0.5},
    "weights": lambda: {"weight": columns()},
    "smoothing": lambda: {"label_smoothing": 0.1},
    "threshold": lambda: {"target_threshold": 0.3},
    "ignored": lambda: {"ignore_index": 0, "normalize": "valid"},
    "mask": lambda: {"mask": torch.arange(N, device="cuda")[:, None] % 3 > 0, "normalize": "valid"},
    "weighed": lambda: {"weight": columns(), "normalize": "weight"},
    "given": lambda: {"normalize": torch.tensor(77.0, device="cuda")},
    "none": lambda: {"reduction": "none"},
    "sum": lambda: {"reduction": "sum"},
}


def data(name, dtype=torch.float32):
    torch.manual_seed(0)
    x = torch.rand(N, CLASSES, device="cuda") if name == BOTH[0] else torch.randn(N, CLASSES, device="cuda")
    return x.to(dtype).requires_grad_(), (torch.rand(N, CLASSES, device="cuda") < 0.3).to(dtype)


def step(name, x, y, **given):
    x.grad = None
    value = getattr(functional, name)(x, y, **given)
    value.backward(torch.ones_like(value))
    return value.detach(), x.grad


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("name", BOTH)
def test_no_option_makes_the_host_wait(name, given):
    x, y = data(name)
    chosen = OPTIONS[given]()
    expected = step(name, x, y, **chosen)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = step(name, x, y, **chosen)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)  # the same bits again


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("name", BOTH)
def test_a_graph_that_was_captured_computes_what_its_tensors_hold_then(name, given, dtype):
    x, y = data(name, dtype)
    chosen = OPTIONS[given]()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            step(name, x, y, **chosen)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    x.grad = None
    with torch.cuda.graph(graph):
        captured = step(name, x, y, **chosen)
    with torch.no_grad():
        x.copy_(x.flip(0))
    graph.replay()
    found = [tensor.clone() for tensor in captured]
    for one, other in zip(found, step(name, x, y, **chosen), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("factor", [1.0, 3.0, 1024.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", BOTH)
def test_narrow_gradients_are_rounded_once_whatever_they_are_multiplied_by(name, dtype, factor):
    x, y = data(name, dtype)
    if name == BOTH[0]:
        x = x.detach().clamp(0.01, 0.99).requires_grad_()
    (getattr(functional, name)(x, y) * factor).backward()
    wide = x.detach().double().requires_grad_()
    with select.forced("reference"):
        (getattr(functional, name)(wide, y.double()) * factor).backward()
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # subnormal steps
    bound = 1.01 * EPS[dtype] * wide.grad.abs() + smallest
    assert ((x.grad.double() - wide.grad).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", BOTH)
def test_autocast_computes_in_float32(name, dtype):
    x, y = data(name, dtype)
    with torch.autocast("cuda", dtype=dtype):
        value = getattr(functional, name)(x, y)
    assert value.dtype is torch.float32
    assert torch.equal(value, getattr(functional, name)(x.float(), y.float()))


def test_gradient_scaling_finds_overflow_and_steps_as_torch_does():
    steps = []
    for loss in (F.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits):
        torch.manual_seed(0)
        layer = torch.nn.Linear(CLASSES, 1).cuda()
        optimizer, scaler = torch.optim.SGD(layer.parameters(), 0.1), torch.amp.GradScaler("cuda", 2.0**40)
        x, y = torch.randn(64, CLASSES, device="cuda"), torch.ones(64, 1, device="cuda")
        for _ in range(60):
            with torch.autocast("cuda", dtype=torch.float16):
                value = loss(layer(x), y)
            optimizer.zero_grad()
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
        steps.append((value.item(), scaler.get_scale()))
    assert steps[0][1] == steps[1][1]
    assert steps[1][0] == pytest.approx(steps[0][0], rel=1e-3)


@pytest.mark.parametrize("name", BOTH)
def test_items_beyond_32_bits_are_counted(name):
    n = 2**31 + 4099
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of GPU memory")
    x = torch.full((n,), 0.5, dtype=torch.bfloat16, device="cuda")
    y = torch.zeros_like(x)
    x[-1], y[-1], y[2**31] = 0.25, 1, 1
    x.requires_grad_()
    value, grad = step(name, x, y, reduction="sum")
    small = torch.tensor([0.5, 0.5, 0.25], dtype=torch.bfloat16, device="cuda", requires_grad=True)
    with select.forced("reference"):
        items, slopes = step(name, small, torch.tensor([0.0, 1.0, 1.0], dtype=x.dtype, device="cuda"), reduction="none")
    expected = (items.double() * torch.tensor([n - 2.0, 1, 1], device="cuda")).sum()
    assert value.double().item() == pytest.approx(expected.item(), rel=2.0**-8)
    assert torch.equal(grad[[0, 2**31, n - 1]], slopes)
    assert torch.equal(grad[[2**31 - 1, 2**31 + 1, n - 2]], slopes[:1].expand(3))


def test_values_that_are_not_allowed_are_an_error_soon_and_never_a_number():
    x, y = data(BOTH[0])
    wrong = x.detach().clone()
    wrong[7, 3] = 1.5

    def until_it_has_arrived():
        assert functional.binary_cross_entropy(wrong, y).isnan()
        torch.cuda.synchronize()
        functional.binary_cross_entropy(x, y)

    with pytest.raises(RuntimeError, match=r"1 items of this call or one before it .* logits go"):
        until_it_has_arrived()
    assert functional.binary_cross_entropy(x, y).isfinite()  # the device still works


@pytest.mark.parametrize("name", BOTH)
def test_compile_fuses_the_formulas_and_agrees(name):
    x, y = data(name)
    expected = step(name, x, y)
    value = torch.compile(getattr(functional, name), fullgraph=True)(x, y)
    (grad,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(expected[0].item(), rel=1e-6)
    torch.testing.assert_close(grad, expected[1], rtol=1e-5, atol=1e-10)


def test_another_stream_than_the_default_gives_the_same_bits():
    x, y = data(BOTH[1])
    expected = step(BOTH[1], x, y)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        found = step(BOTH[1], x, y)
    torch.cuda.current_stream().wait_stream(side)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_dense_tensors_take_the_kernels_and_targets_of_another_device_are_named():
    x, y = data(BOTH[1])
    assert engine_for(x, y).name == "gpu"
    with pytest.raises(RuntimeError, match="device"):
        functional.binary_cross_entropy_with_logits(x, y.cpu())


# Tiles


def head(dtype=torch.float32, rows=512, features=64, labels=3000):
    torch.manual_seed(0)
    tensors = torch.randn(rows, features), torch.randn(labels, features) / 8, torch.randn(labels)
    return [tensor.to("cuda", dtype).requires_grad_() for tensor in tensors]


def positives(rows=512, labels=3000, each=5):
    g = torch.Generator().manual_seed(1)
    columns = torch.stack([torch.randperm(labels, generator=g)[:each] for _ in range(rows)]).flatten()
    return torch.arange(rows).repeat_interleave(each).cuda(), columns.cuda()


def exact(tensors, target, loss=F.binary_cross_entropy_with_logits):
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors]
    logits = F.linear(*wide)
    full = torch.zeros_like(logits)
    full[target] = 1
    value = loss(logits, full)
    value.backward()
    return [value.detach(), *(tensor.grad for tensor in wide)]


def tiled(tensors, target, **given):
    x, w, b = tensors
    for tensor in tensors:
        tensor.grad = None
    value = torchbce.linear_binary_cross_entropy(x, w, target, linear_bias=b, **given)
    value.backward()
    return [value.detach(), x.grad, w.grad, b.grad]


def assert_as_exact(found, expected, eps, terms=3000):
    """A sum of `terms` rounded products, relative to the largest."""
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours.double() - theirs).abs().max()
        assert error <= 8 * terms**0.5 * eps * theirs.abs().max(), (error / theirs.abs().max()).item()


@pytest.mark.parametrize("logits", [20_000, 1 << 26], ids=["many tiles", "one tile"])
@pytest.mark.parametrize("dtype", list(EPS))
def test_losses_from_features_are_those_of_stored_logits(dtype, logits, monkeypatch):
    monkeypatch.setattr(grid, "GPU_BYTES", logits * 12)
    tensors, target = head(dtype), positives()
    assert_as_exact(tiled(tensors, target), exact(tensors, target), EPS[dtype])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_multiplies_narrow_and_adds_up_wide(dtype):
    tensors, target = head(), positives()
    with torch.autocast("cuda", dtype=dtype):
        found = tiled(tensors, target)
    assert found[0].dtype is torch.float32
    assert found[2].dtype is torch.float32
    assert_as_exact(found, exact(tensors, target), EPS[dtype])


def test_the_memory_of_a_step_is_that_of_gradients_and_tiles():
    tensors, target = head(rows=4096, labels=100_000), positives(rows=4096, labels=100_000)
    tiled(tensors, target)
    for tensor in tensors:
        tensor.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    tiled(tensors, target)
    logits = 4096 * 100_000 * 4
    assert torch.cuda.max_memory_allocated() - before < logits / 2


def test_the_largest_logits_are_those_of_stored_logits():
    x, w, b = head()
    found = torchbce.linear_topk(x, w, 5, linear_bias=b)
    expected = torch.topk(F.linear(x.double(), w.double(), b.double()), 5)
    assert torch.equal(found[1], expected.indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_pairs_have_the_loss_of_the_formula(dtype):
    torch.manual_seed(0)
    x, y = (F.normalize(torch.randn(700, 64), dim=1).to("cuda", dtype).requires_grad_() for _ in range(2))
    scale, bias = (torch.tensor(v, device="cuda", dtype=dtype, requires_grad=True) for v in (10.0, -10.0))
    torchbce.pairwise_sigmoid_loss(x, y, scale, bias).backward()
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, y, scale, bias)]
    labels = 2 * torch.eye(700, device="cuda", dtype=torch.float64) - 1
    (-F.logsigmoid(labels * (wide[2] * wide[0] @ wide[1].T + wide[3])).sum() / 700).backward()
    assert_as_exact([t.grad for t in (x, y, scale, bias)], [t.grad for t in wide], EPS[dtype], 700)
