"""Tensors of any layout, each drawn for itself, against torch on dense copies. What lies between their items is NaN."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forked
import torchbce
from torchbce.engine import layout, select

LAYOUTS = ["dense", "offset", "column", "every second", "reversed", "transposed", "expanded", "windows"]
NAN_OF = {torch.bool: True, torch.int64: 99}
EVERYTHING = ("weight", "pos_weight", "mask")
# The dtypes of input and target, and what is there besides: each is a kernel, which takes seconds to compile.
FORMS = [
    (torch.float32, torch.float32, ("weight",)),
    (torch.float32, torch.float32, EVERYTHING),
    (torch.float64, torch.int64, EVERYTHING),
]
if os.environ.get("TORCHBCE_ALL"):
    FLOATS = (torch.float32, torch.float64)
    FORMS = [
        (x, y, present)
        for x in FLOATS
        for y in (x, torch.int64)
        for present in ((), ("weight",), ("pos_weight",), ("mask",), EVERYTHING)
    ]


def padding(count: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((count,), NAN_OF.get(dtype, math.nan), dtype=dtype)


def laid(values: torch.Tensor, how: str) -> torch.Tensor:
    """These values (of some, as 'expanded' and 'windows' repeat them) as a view of memory that is otherwise NaN."""
    shape, n = values.shape, values.numel()
    if how == "offset":
        memory = torch.cat([padding(5, values.dtype), values.flatten(), padding(70, values.dtype)])
        return memory[5 : 5 + n].view(shape)
    if how == "column":
        memory = padding(3 * n, values.dtype).view(*shape, 3)
        memory[..., 1] = values
        return memory[..., 1]
    if how == "every second" and values.ndim:
        memory = padding(2 * n, values.dtype).view(2 * shape[0], *shape[1:])
        memory[::2] = values
        return memory[::2]
    if how == "reversed":
        order = tuple(reversed(range(values.ndim)))
        return values.permute(order).contiguous().permute(order)
    if how == "transposed" and values.ndim > 1:
        return values.transpose(0, 1).contiguous().transpose(0, 1)
    if how == "expanded" and values.ndim and n:
        return values[:1].clone().expand(shape)
    if how == "windows" and n:
        memory = torch.cat([values.flatten(), padding(70, values.dtype)])
        return memory.as_strided(shape, (1,) * values.ndim)  # each row begins one item after the one before
    return values.clone()


@pytest.fixture(params=["with the node", "without the node"])
def node(request, monkeypatch):
    if request.param == "without the node":
        monkeypatch.setattr(select, "_node", lambda: None)
    elif select.node() is None:
        pytest.skip("no compiled node on this machine")


def numbers(shape, dtype, seed, low=0.5, high=1.5):
    made = torch.empty(shape, dtype=torch.float64).uniform_(low, high, generator=torch.Generator().manual_seed(seed))
    return made.to(dtype)


shapes = st.lists(st.sampled_from([0, 1, 2, 3, 3, 7]), max_size=4).map(tuple) | st.just((3000, 3))


@st.composite
def broadcast(draw, shape):
    """A shape that broadcasts to this one."""
    sizes = [draw(st.sampled_from([size, size, 1])) for size in shape]
    return tuple(sizes[draw(st.integers(0, len(sizes))) :])


def dense(tensor):
    return None if tensor is None else tensor.clone(memory_format=torch.contiguous_format)


def by_torch(name, x, y, weight, pos_weight, mask, reduction):
    """torch's loss in float64; where a mask leaves items out, they add 0."""
    x, y, weight, pos_weight = (None if t is None else dense(t).double() for t in (x, y, weight, pos_weight))
    more = {} if pos_weight is None else {"pos_weight": pos_weight}
    items = getattr(F, name)(x, y, weight, reduction="none", **more)
    items = items if mask is None else torch.where(dense(mask), items, 0.0)
    return items if reduction == "none" else getattr(items, reduction)()


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_every_layout_gives_torchs_results(node, name, data):
    draw = data.draw
    reduction = draw(st.sampled_from(["mean", "sum", "none", "none"]))
    shape, seed = draw(shapes), draw(st.integers(0, 9))
    dtype, of_target, present = draw(st.sampled_from(FORMS))
    hows = {who: draw(st.sampled_from(LAYOUTS)) for who in ("x", "y", "weight", "pos_weight", "mask", "grad")}
    logits = name.endswith("logits")
    x = laid(numbers(shape, dtype, seed, *((-4, 4) if logits else (0.01, 0.99))), hows["x"])
    y = laid(numbers(shape, of_target, seed + 1, 0, 2 if of_target is torch.int64 else 1), hows["y"])
    weight, pos_weight, mask = (
        laid(numbers(draw(broadcast(shape)), made, seed + place, *((0, 2) if made is torch.bool else ())), hows[who])
        if who in present and (logits or who != "pos_weight")
        else None
        for place, (who, made) in enumerate({"weight": dtype, "pos_weight": dtype, "mask": torch.bool}.items())
    )
    grad_output = laid(numbers(shape if reduction == "none" else (), dtype, seed + 7), hows["grad"])

    mine_x, torchs_x = (x.detach().requires_grad_() for _ in range(2))
    more = {"pos_weight": pos_weight} if logits else {}
    mine = getattr(torchbce.functional, name)(mine_x, y, weight, reduction=reduction, mask=mask, **more)
    torchs = by_torch(name, torchs_x, y, weight, pos_weight, mask, reduction)
    (mine_grad,) = torch.autograd.grad(mine, mine_x, grad_output.to(mine.dtype))
    (torchs_grad,) = torch.autograd.grad(torchs, torchs_x, grad_output.double())

    close = {"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(mine.double(), torchs, equal_nan=True, **close)
    torch.testing.assert_close(mine_grad, torchs_grad, equal_nan=not mine.numel() or mine.isnan().any().item(), **close)


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_parameters_of_any_loss_may_have_any_layout(node, reduction, how):
    def costly(x, y, cost=1.0):
        return cost * (x - y) * (x - y)

    loss = torchbce.fused_loss(costly)
    x, y = numbers((40, 3), torch.float32, 0), numbers((40, 3), torch.float32, 1)
    for shape in ((40, 3), (3,), (40, 1)):
        cost = laid(numbers(shape, torch.float32, 2), how)
        mine = loss(laid(x, how), laid(y, how), cost=cost, reduction=reduction)
        items = cost * (laid(x, how) - laid(y, how)) ** 2
        torch.testing.assert_close(mine, items if reduction == "none" else items.mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_losses_that_are_stacked_or_concatenated_have_torchs_gradients(node, name, dtype):
    x, y = numbers((4, 6), dtype, 0, 0.1, 0.9), numbers((4, 6), dtype, 1, 0, 1)
    factors = numbers((4, 12), dtype, 2)
    grads = []
    for module in (torchbce.functional, F):
        leaf = x.clone().requires_grad_()
        losses = [getattr(module, name)(leaf[i], y[i], reduction="none") for i in range(4)]
        whole = getattr(module, name)(leaf, y, reduction="none")
        joined = torch.cat([torch.stack(losses, 0), whole], 1) * factors
        (joined.sum() + (torch.stack([losses[0], losses[1]], 1) * factors[:2].reshape(12, 2)[:6]).sum()).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("negated", [False, True])
def test_an_outer_gradient_may_be_a_negated_view(node, negated):
    x, y, g = numbers((5,), torch.float32, 0), numbers((5,), torch.float32, 1, 0, 1), numbers((5,), torch.float32, 2)
    grads = []
    for module in (torchbce.functional, F):
        leaf = x.clone().requires_grad_()
        loss = module.binary_cross_entropy_with_logits(leaf, y, reduction="none")
        torch.complex(loss, loss).conj().backward(torch.complex(g, -2 * g) if negated else torch.complex(g, g))
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("how", LAYOUTS)
def test_weights_of_the_gpu_engine_may_have_any_layout(how):
    x, y = numbers((12, 3), torch.float32, 0), numbers((12, 3), torch.float32, 1, 0, 1)
    weight, pos_weight = laid(numbers((12, 1), torch.float32, 2), how), laid(numbers((3,), torch.float32, 3), how)
    mask, grad_output = laid(numbers((12, 1), torch.bool, 4, 0, 2), how), laid(numbers((12, 3), torch.float32, 5), how)
    leaf, other = laid(x, how).requires_grad_(), laid(x, how).requires_grad_()
    with select.forced("gpu"):
        mine = torchbce.functional.binary_cross_entropy_with_logits(
            leaf, laid(y, how), weight, reduction="none", pos_weight=pos_weight, mask=mask
        )
        mine.backward(grad_output)
    theirs = by_torch("binary_cross_entropy_with_logits", other, laid(y, how), weight, pos_weight, mask, "none")
    theirs.backward(grad_output.double())
    torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(10)[::2],
        torch.zeros(4, 3)[:, 1],
        torch.zeros(1).expand(5),
        torch.zeros(6),
        torch.zeros(9).as_strided((5,), (2,)),
    ],
)
def test_compiled_code_is_given_no_memory_with_gaps(tensor):
    with pytest.raises(RuntimeError, match="needs 5 numbers one after another, got a tensor of"):
        layout.address(tensor, 5)


def test_addresses_are_taken_in_one_place():
    engine = Path(layout.__file__).parent
    for file in [*engine.rglob("*.py"), *engine.rglob("*.h"), *engine.rglob("*.cpp")]:
        if "perceptron" in file.parts or "trees" in file.parts:
            continue
        places = [line for line in file.read_text().splitlines() if "data_ptr()" in line]
        allowed = {"layout.py": 2, "call.h": 1, "buffers.py": 1}.get(file.name, 0)  # huge pages: advice, not reading
        assert len(places) == allowed, f"{file.name}: {places}"


GUARDED = '''
import ctypes, mmap, itertools, torch, torchbce
from torchbce.engine import select
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
held = []
def at_the_edge(values, after):
    """The values in a page of their own, at its end (or its beginning), beside pages that may not be touched."""
    size = values.numel() * values.element_size()
    room = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    held.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    first = PAGE + (room - size if after else 0)
    tensor = torch.frombuffer(memory, dtype=values.dtype, count=values.numel(), offset=first).view(values.shape)
    tensor.copy_(values)
    for place in (start, start + PAGE + room):
        assert libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), 0) == 0
    return tensor
select.forced("cpu").__enter__()
torch.manual_seed(0)
BCE, LOGITS = torchbce.functional.binary_cross_entropy, torchbce.functional.binary_cross_entropy_with_logits
SHAPES = (7,), (5, 3), (1030, 3), (9000,)
for dtype, after, shape in itertools.product((torch.float32, torch.float64), (True, False), SHAPES):
    x, y, w, g = (torch.rand(shape, dtype=dtype) for _ in range(4))
    p, m = torch.rand(shape[-1:], dtype=dtype), torch.rand(shape) > 0.5
    edge = [at_the_edge(t, after) for t in (x, y, w, p, m, g)]
    views = [edge, [t if t is edge[0] or t is edge[1] else t[::2].repeat_interleave(2, 0)[: t.size(0)] for t in edge]]
    for a, b, c, d, e, f in views:
        for reduction in ("mean", "none"):
            for function, more in ((BCE, {}), (LOGITS, {"pos_weight": d})):
                for options in ({}, {"weight": c, "mask": e, **more}):
                    leaf = a.detach().requires_grad_()
                    loss = function(leaf, b, reduction=reduction, **options)
                    loss.backward(f if reduction == "none" else None)
print("unharmed")
'''


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect as Linux has it")
@pytest.mark.parametrize("node", ["1", "0"])
@pytest.mark.slow
def test_nothing_beyond_a_tensor_is_touched(node):
    run = forked.run(GUARDED, environment={"TORCHBCE_NODE": node})
    assert run.stdout == "unharmed\n", run.stderr[-2000:]
