"""Losses from features: the same value and gradients as from stored logits, and the logits are never stored."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce
from torch.nn.functional import linear

import torchbce
from tiled_calls import EPS, FEATURES, LABELS, ROWS, assert_close, matrix, ours, positives, run, stored, tensors
from torchbce import linear_binary_cross_entropy
from torchbce.engine import select
from torchbce.tiled import grid, problem

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse CS[RC] tensor support is in beta"),
    pytest.mark.usefixtures("reference"),  # but where kernels are asked for: each option would be compiled
]


FORMS = ["matrix", "bool", "uint8", "int64", "bfloat16", "pair", "pair of int32", "listed twice", "padded"]


FORMS += ["csr", "csc", "coo"]


@pytest.fixture(params=[40, 700, 1 << 20], ids=["tiles of a few logits", "a few tiles", "one tile"])
def tiles(request, monkeypatch):
    """The number of logits in a tile."""
    monkeypatch.setattr(grid, "BYTES", request.param * 12)


def padded(rows, columns):
    most = int(torch.bincount(rows, minlength=ROWS).max())
    made = torch.full((ROWS, most + 2), -1)
    for row in range(ROWS):
        here = columns[rows == row]
        made[row, 1 : 1 + len(here)] = here
    return made


def forms():
    rows, columns = positives()
    shuffled = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    full = matrix(rows, columns)
    return {
        "matrix": full,
        "bool": full.bool(),
        "uint8": full.to(torch.uint8),
        "int64": full.long(),
        "bfloat16": full.bfloat16(),
        "pair": (rows[shuffled], columns[shuffled]),
        "pair of int32": (rows.int(), columns.int()),
        "listed twice": (torch.cat([rows, rows[:9]]), torch.cat([columns, columns[:9]])),
        "padded": padded(rows, columns),
        "csr": full.to_sparse_csr(),
        "csc": full.to_sparse_csc(),
        "coo": full.to_sparse_coo(),
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_target_gives_the_loss_of_the_stored_logits(form, tiles):
    expected = run(stored(matrix(*positives())), tensors())
    found = run(ours(forms()[form]), tensors())
    assert_close(found, expected, torch.float64)


@pytest.mark.parametrize("form", ["matrix", "pair", "csr"])
def test_kernels_give_the_loss_of_the_stored_logits(form, tiles):
    given = tensors(torch.float32)
    expected = run(stored(matrix(*positives())), [tensor.detach().double() for tensor in given])
    target = forms()[form]
    with select.forced("cpu"):
        found = run(ours(target.float() if form == "csr" else target), given)
    assert_close(found, expected, torch.float32)


OPTIONS = {
    "pos_weight per label": {"pos_weight": torch.linspace(0.5, 3, LABELS, dtype=torch.float64)},
    "weight per row": {"weight": torch.linspace(0.1, 2, ROWS, dtype=torch.float64)[:, None]},
    "weight per item": {"weight": torch.linspace(0, 2, ROWS * LABELS, dtype=torch.float64).reshape(ROWS, LABELS)},
    "weight, a number": {"weight": 0.3},
    "smoothing": {"label_smoothing": 0.2},
    "mask": {"mask": torch.arange(ROWS * LABELS).reshape(ROWS, LABELS) % 3 != 0},
    "ignored": {"ignore_index": 0.0},
    "threshold": {"target_threshold": 0.5},
    "valid": {"mask": torch.arange(LABELS) % 3 != 0, "normalize": "valid"},
    "valid, ignored": {"ignore_index": 1.0, "normalize": "valid"},
    "weight normalised": {"weight": torch.linspace(0.1, 2, LABELS, dtype=torch.float64), "normalize": "weight"},
    "batch": {"normalize": "batch"},
    "a number": {"normalize": 17.0},
    "a tensor": {"normalize": torch.tensor(17.0)},
    "all": {
        "pos_weight": torch.linspace(0.5, 3, LABELS, dtype=torch.float64),
        "weight": torch.linspace(0.1, 2, ROWS, dtype=torch.float64)[:, None],
        "label_smoothing": 0.1,
        "mask": torch.arange(LABELS) % 3 != 0,
        "ignore_index": 0.25,
        "normalize": "weight",
    },
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_gives_the_loss_of_the_stored_logits(name, reduction, tiles):
    options = dict(OPTIONS[name])
    if reduction != "mean":
        options.pop("normalize", None)
    target = matrix(*positives())
    target[5] = 0.25
    loss = torchbce.functional.binary_cross_entropy_with_logits
    expected = run(stored(target, loss, reduction=reduction, **options), tensors())
    assert_close(run(ours(target, reduction=reduction, **options), tensors()), expected, torch.float64)


@torchbce.fused_loss
def squared(x, y, gamma=1.0):
    p = torch.sigmoid(x)
    return gamma * (p - y) * (p - y)


LOSSES = {
    "focal": (torchbce.focal_loss_with_logits, {"gamma": 1.5, "alpha": torch.linspace(0.1, 0.9, LABELS).double()}),
    "asymmetric": (torchbce.asymmetric_loss_with_logits, {"gamma_neg": 3.0, "clip": 0.1}),
    "the user's own": (squared, {"gamma": 2.0}),
    "torch's own": (torch_bce, {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_gives_the_loss_of_the_stored_logits(name, tiles):
    loss, options = LOSSES[name]
    target = matrix(*positives())
    expected = run(stored(target, loss, **options), tensors())
    assert_close(run(ours(positives(), loss=loss, **options), tensors()), expected, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_dtypes_have_the_float64_loss_and_are_rounded_once(dtype, tiles):
    given = tensors(dtype)
    expected = run(stored(matrix(*positives())), [tensor.detach().double() for tensor in given])
    found = run(ours(positives()), given)
    assert [tensor.dtype for tensor in found] == [dtype] * 4
    for ours_, theirs in zip(found, expected, strict=True):
        # Items and sums in float32, then one rounding; what float16 cannot hold is rounded to its steps of 2^-24.
        size = float(theirs.abs().max())
        bound = (EPS[dtype] + 8 * LABELS * EPS[torch.float32]) * size + (2.0**-25 if dtype == torch.float16 else 0)
        assert float((ours_.double() - theirs).abs().max()) <= bound


def test_autocast_keeps_float32(tiles):
    given = tensors(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(ours(positives()), given)
    assert_close(found, run(ours(positives()), given), torch.float32)
    assert found[0].dtype == torch.float32


def test_autocast_takes_features_of_another_dtype():
    x, w, b = tensors(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = linear_binary_cross_entropy(x.bfloat16(), w, positives(), linear_bias=b)
    assert value.dtype == torch.float32
    value.backward()
    assert x.grad.dtype == w.grad.dtype == torch.float32


@pytest.mark.parametrize("factor", [1.0, 3.0, 1024.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_scaled_loss_has_scaled_gradients(dtype, factor):
    given = tensors(dtype)
    expected = run(stored(matrix(*positives())), [tensor.detach().double() for tensor in given], factor)
    for found, theirs in zip(run(ours(positives()), given, factor)[1:], expected[1:], strict=True):
        bound = (2 * EPS[dtype] + 8 * LABELS * EPS[torch.float32]) * float(theirs.abs().max()) + 2.0**-25
        assert float((found.double() - theirs).abs().max()) <= bound


def test_backward_twice_gives_twice_the_gradient(tiles):
    x, w, b = tensors()
    value = ours(positives())(x, w, b)
    value.backward(retain_graph=True)
    once = w.grad.clone()
    value.backward()
    assert torch.allclose(w.grad, 2 * once, rtol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_derivatives_of_both_orders(reduction, tiles):
    rows = torch.tensor([0, 2, 2])
    given = tensors(rows=4, labels=6)
    function = ours((rows, torch.tensor([5, 1, 0])), reduction=reduction, label_smoothing=0.1)
    assert gradcheck(function, given)
    assert gradgradcheck(function, given)


@pytest.mark.parametrize(
    "wanted", [(True, False, False), (False, True, False), (False, False, True), (False, True, True)]
)
def test_only_the_gradients_that_are_wanted(wanted, tiles):
    given = [t.detach().requires_grad_(w) for t, w in zip(tensors(), wanted, strict=True)]
    expected = run(stored(matrix(*positives())), tensors())[1:]
    ours(positives())(*given).backward()
    for tensor, theirs, is_wanted in zip(given, expected, wanted, strict=True):
        assert (tensor.grad is not None) == is_wanted
        if is_wanted:
            assert_close([tensor.grad], [theirs], torch.float64)


def test_transforms_take_plain_torch():
    x, w, b = (tensor.detach() for tensor in tensors())
    target = matrix(*positives())
    per_row = torch.func.vmap(
        torch.func.grad(lambda w, x, y: linear_binary_cross_entropy(x[None], w, y[None])), (None, 0, 0)
    )
    found = per_row(w, x, target).sum(0) / ROWS
    assert torch.allclose(found, run(stored(target), (x, w, torch.zeros_like(b)))[2])


def test_a_weight_that_makes_the_features_too():
    """Tied embeddings: the gradient is the sum of both uses."""
    table = torch.randn(LABELS, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    words = torch.arange(ROWS) * 7 % LABELS
    tied = lambda w: ours(positives())(w[words].tanh(), w, torch.zeros(LABELS, dtype=torch.float64))  # noqa: E731
    dense = lambda w: torch_bce(w[words].tanh() @ w.T, matrix(*positives()))  # noqa: E731
    assert_close(run(tied, [table]), run(dense, [table]), torch.float64)


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_tensors_that_are_not_contiguous(layout, tiles):
    x, w, b = (tensor.detach() for tensor in tensors())
    target = matrix(*positives())
    if layout == "transposed":
        x, w, target = x.T.contiguous().T, w.T.contiguous().T, target.T.contiguous().T
    elif layout == "strided":
        x, w, target = (
            x.repeat_interleave(2, 1)[:, ::2],
            w.repeat_interleave(2, 0)[::2],
            target.repeat(1, 2)[:, :LABELS],
        )
    else:
        x, target = x[:1].expand(ROWS, -1), target[:1].expand(ROWS, -1)
    for tensor in (x, w, b):
        tensor.requires_grad_()
    found = torch.autograd.grad(ours(target)(x, w, b), (x, w, b))
    expected = torch.autograd.grad(stored(target)(x, w, b), (x, w, b))
    assert_close(found, expected, torch.float64)


def test_nothing_of_the_caller_is_changed(tiles):
    given = [*tensors(), matrix(*positives()), *positives()]
    before = [tensor.detach().clone() for tensor in given]
    for target in (given[3], tuple(given[4:])):
        ours(target)(*given[:3]).backward()
    assert all(torch.equal(tensor, old) for tensor, old in zip(given, before, strict=True))


def test_a_changed_weight_is_noticed_by_backward():
    x, w, b = tensors()
    value = ours(positives())(x, w, b)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("labels", [1, 2])
def test_the_smallest_sizes(rows, labels):
    given = tensors(rows=rows, labels=labels)
    target = torch.ones(rows, labels, dtype=torch.float64)
    for reduction in ("mean", "sum", "none"):
        found, expected = (run(f(target, reduction=reduction), given) for f in (ours, stored))
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.shape == theirs.shape
            assert torch.allclose(mine, theirs, equal_nan=True)


def test_no_positive_at_all(tiles):
    nothing = torch.empty(0, dtype=torch.int64)
    expected = run(stored(torch.zeros(ROWS, LABELS, dtype=torch.float64)), tensors())
    for target in ((nothing, nothing), torch.full((ROWS, 3), -1), torch.empty(ROWS, 0, dtype=torch.int64)):
        assert_close(run(ours(target), tensors()), expected, torch.float64)


def test_values_of_a_sparse_tensor_that_stand_twice_are_added_up():
    at, values = torch.tensor([[0, 0, 4], [7, 7, 1]]), torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    target = torch.sparse_coo_tensor(at, values, (ROWS, LABELS), check_invariants=True)
    assert_close(run(ours(target), tensors()), run(ours(target.to_dense()), tensors()), torch.float64)


def test_extreme_logits_keep_their_digits(tiles):
    x, w, b = (torch.tensor(v) for v in ([[1.0], [1.0], [-1.0]], [[1e30], [90.0], [-1e-30]], [0.0, 0.0, 0.0]))
    target = (torch.tensor([0, 2]), torch.tensor([0, 2]))
    full = torch.zeros(3, 3).index_put_(target, torch.tensor(1.0))
    found = run(ours(target, reduction="sum"), (x, w, b))
    expected = run(stored(full.double(), reduction="sum"), [t.double() for t in (x, w, b)])
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine.double(), theirs, rtol=1e-6)


def test_a_step_of_sgd_in_backward_is_that_of_the_optimizer(tiles):
    given = tensors()
    x, w, b = (tensor.detach().clone().requires_grad_() for tensor in given)
    (3 * ours(positives(), sgd_lr=0.7)(x, w, b)).backward()
    assert w.grad is None
    assert b.grad is None
    theirs = [tensor.detach().clone().requires_grad_() for tensor in given]
    optimizer = torch.optim.SGD(theirs[1:], lr=0.7)
    (3 * stored(matrix(*positives()))(*theirs)).backward()
    optimizer.step()
    assert_close([x.grad, w.detach(), b.detach()], [theirs[0].grad, *(t.detach() for t in theirs[1:])], torch.float64)


def test_logits_are_never_stored(tiles, monkeypatch):
    """No tile is larger than what it may hold, and no tensor of the graph is as large as the logits."""
    seen = []
    made = problem.Problem.loss_of

    def watched(self, logits, tile, reduction):
        seen.append(logits.numel())
        return made(self, logits, tile, reduction)

    monkeypatch.setattr(problem.Problem, "loss_of", watched)
    value = ours(positives())(*tensors())
    assert sum(seen) == ROWS * LABELS
    assert max(seen) <= max(grid.BYTES // 24, 1)
    saved = [tensor for tensor in value.grad_fn.saved_tensors if tensor is not None]
    assert all(tensor.numel() < ROWS * LABELS for tensor in saved)


@pytest.mark.parametrize("rows", [1, 5, 1024, 100_000, 10**8])
@pytest.mark.parametrize("labels", [1, 10, 1000, 10**6])
def test_tiles_fit_their_bytes(rows, labels):
    cut = grid.grid_of(rows, labels, torch.float32)
    assert 1 <= cut.height <= rows
    assert 1 <= cut.width <= labels
    assert cut.height * cut.width * 12 <= grid.BYTES


@pytest.mark.parametrize("k", [1, 3, LABELS])
def test_topk_is_that_of_the_stored_logits(k, tiles):
    x, w, b = (tensor.detach() for tensor in tensors())
    values, labels = torchbce.linear_topk(x, w, k, linear_bias=b)
    expected = linear(x, w, b).topk(k)
    assert torch.allclose(values, expected.values)
    assert torch.equal(labels, expected.indices)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_topk_of_narrow_dtypes_is_ordered_in_float32(dtype):
    x, w, b = (tensor.detach() for tensor in tensors(dtype))
    expected = linear(x.float(), w.float(), b.float()).topk(5)
    assert torch.equal(torchbce.linear_topk(x, w, 5, linear_bias=b)[1], expected.indices)
