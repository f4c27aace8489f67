"""Losses from features: the same value and gradients as from stored logits, and the logits are never stored."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce
from torch.nn.functional import linear

import forked
import torchbce
from torchbce import linear_binary_cross_entropy
from torchbce.engine import select
from torchbce.tiled import grid, problem
from torchbce.tiled.passes import Wanted

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse CS[RC] tensor support is in beta"),
    pytest.mark.usefixtures("reference"),  # but where kernels are asked for: each option would be compiled
]
ROWS, FEATURES, LABELS = 37, 5, 53
FORMS = ["matrix", "bool", "uint8", "int64", "bfloat16", "pair", "pair of int32", "listed twice", "padded"]
FORMS += ["csr", "csc", "coo"]
EPS = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


@pytest.fixture(params=[40, 700, 1 << 20], ids=["tiles of a few logits", "a few tiles", "one tile"])
def tiles(request, monkeypatch):
    """The number of logits in a tile."""
    monkeypatch.setattr(grid, "BYTES", request.param * 12)


def tensors(dtype=torch.float64, rows=ROWS, labels=LABELS, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = (
        torch.randn(*size, generator=g, dtype=torch.float64)
        for size in ((rows, FEATURES), (labels, FEATURES), (labels,))
    )
    return [tensor.to(dtype).requires_grad_() for tensor in made]


def positives(seed=1):
    """(rows, columns), without two alike; row 3 has none."""
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(ROWS, LABELS, generator=g) < 0.1
    chosen[3] = False
    return chosen.nonzero(as_tuple=True)


def matrix(rows, columns, dtype=torch.float64):
    full = torch.zeros(ROWS, LABELS, dtype=dtype)
    full[rows, columns] = 1
    return full


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


def run(function, given, factor=1.0):
    """The value and the gradients of function(*given)."""
    fresh = [tensor.detach().clone().requires_grad_() for tensor in given]
    value = function(*fresh)
    (value * factor).sum().backward()
    return [value.detach(), *(tensor.grad for tensor in fresh)]


def ours(target, **options):
    return lambda x, w, b: linear_binary_cross_entropy(x, w, target, linear_bias=b, **options)


def stored(target, loss=torch_bce, **options):
    return lambda x, w, b: loss(linear(x, w, b), target, **options)


def assert_close(found, expected, dtype, terms=LABELS):
    """Sums of `terms` products, each rounded: an error of terms * eps of the largest."""
    for ours, theirs in zip(found, expected, strict=True):
        bound = 8 * terms * EPS[dtype] * max(1e-300, float(theirs.abs().max()))
        assert torch.isfinite(ours).all()
        assert float((ours.double() - theirs.double()).abs().max()) <= bound


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


def test_no_step_without_backward_nor_in_evaluation():
    head = torchbce.LinearBCELoss(FEATURES, LABELS, sgd_lr=1.0, dtype=torch.float64)
    before, x = head.weight.detach().clone(), tensors()[0]
    head(x, positives())
    with torch.no_grad():
        head(x, positives())
    head.eval()(x, positives()).backward()
    assert torch.equal(head.weight, before)
    assert head.weight.grad is not None


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


def test_the_module_is_a_linear_layer_and_its_loss():
    layer = nn.Linear(FEATURES, LABELS).double()
    head = torchbce.LinearBCELoss(FEATURES, LABELS, pos_weight=torch.full((LABELS,), 2.0, dtype=torch.float64)).double()
    head.load_state_dict(layer.state_dict())
    x = tensors()[0].detach()
    expected = torch_bce(layer(x), matrix(*positives()), pos_weight=head.loss_pos_weight)
    assert torch.allclose(head(x, positives()), expected)
    assert "in_features=5, num_labels=53, pos_weight=<(53,)>" in repr(head)
    stream = io.BytesIO()
    torch.save(head, stream)
    stream.seek(0)
    assert torch.equal(torch.load(stream, weights_only=False)(x, positives()), head(x, positives()))


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


WRONG = {
    "features of three dimensions": (lambda x, w, b: {"input": x[None]}, ValueError, "flatten"),
    "another width": (lambda x, w, b: {"input": x[:, :3]}, ValueError, r"\(37, 3\) and \(53, 5\)"),
    "bias": (lambda x, w, b: {"linear_bias": b[:7]}, ValueError, r"shape \(7,\).*53 rows"),
    "dtypes": (
        lambda x, w, b: {"input": x.float()},
        RuntimeError,
        "input is torch.float32, linear_weight is torch.float64",
    ),
    "numpy": (lambda x, w, b: {"input": x.detach().numpy()}, TypeError, "torch.as_tensor"),
    "target's shape": (lambda x, w, b: {"target": torch.zeros(ROWS, 3)}, ValueError, r"\(37, 3\).*\(37, 53\)"),
    "target requires grad": (lambda x, w, b: {"target": linear(x, w)}, RuntimeError, "target.detach"),
    "column": (
        lambda x, w, b: {"target": (torch.tensor([1, 2]), torch.tensor([0, LABELS]))},
        ValueError,
        "positive 1 of the target is at row 2, column 53; .* columns from 0 to 52",
    ),
    "row": (lambda x, w, b: {"target": (torch.tensor([-1]), torch.tensor([0]))}, ValueError, "row -1, column 0"),
    "padding": (lambda x, w, b: {"target": torch.full((ROWS, 2), -2)}, ValueError, "row 0, column -2"),
    "large numbers": (
        lambda x, w, b: {"target": torch.full((ROWS, LABELS), 7)},
        ValueError,
        "it holds 7.*add a column",
    ),
    "float8 features": (lambda x, w, b: {"input": x.to(torch.float8_e5m2)}, RuntimeError, "float8"),
    "a loss class": (lambda x, w, b: {"loss": torchbce.FocalLoss}, TypeError, "loss is a module, FocalLoss"),
    "an ignored word": (
        lambda x, w, b: {"ignore_index": "x", "normalize": "valid"},
        TypeError,
        "ignore_index must be a number",
    ),
    "a normaliser of two": (lambda x, w, b: {"normalize": torch.ones(2)}, ValueError, "one number"),
    "wide numbers": (lambda x, w, b: {"target": torch.full((ROWS, LABELS), -1)}, ValueError, "add a column"),
    "float positions": (lambda x, w, b: {"target": (torch.zeros(2), torch.zeros(2))}, ValueError, "whole numbers"),
    "a list": (lambda x, w, b: {"target": [1, 2]}, TypeError, "got list"),
    "a module": (lambda x, w, b: {"loss": torchbce.BCEWithLogitsLoss()}, TypeError, "pass the function"),
    "probabilities": (lambda x, w, b: {"loss": torchbce.focal_loss}, TypeError, "takes probabilities"),
    "an option": (lambda x, w, b: {"gama": 2.0}, TypeError, "gama"),
    "deprecated": (lambda x, w, b: {"size_average": False}, TypeError, "torch has deprecated"),
    "values of two numbers": (
        lambda x, w, b: {
            "target": torch.sparse_coo_tensor([[0]], torch.ones(1, LABELS), (ROWS, LABELS), check_invariants=True)
        },
        ValueError,
        "dimensions of their own",
    ),
    "classes": (lambda x, w, b: {"num_classes": LABELS}, ValueError, r"numbers\[:, None\]"),
    "reduction": (lambda x, w, b: {"reduction": "avg"}, ValueError, "'avg' is not"),
    "weight": (lambda x, w, b: {"weight": torch.ones(7)}, RuntimeError, r"\(7,\) does not broadcast"),
    "normalize": (lambda x, w, b: {"reduction": "sum", "normalize": "batch"}, ValueError, "divides by"),
    "step": (lambda x, w, b: {"reduction": "none", "sgd_lr": 1.0}, ValueError, "reduced loss"),
    "value": (
        lambda x, w, b: {"target": matrix(*positives()) * 2, "validate": "raise"},
        RuntimeError,
        "between 0 and 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    x, w, b = tensors()
    changed, error, words = WRONG[name]
    given = {"input": x, "linear_bias": b, "target": positives()} | changed(x, w, b)
    with pytest.raises(error, match=words):
        linear_binary_cross_entropy(given.pop("input"), w, given.pop("target"), **given)


@pytest.mark.parametrize("k", [0, LABELS + 1, 2.0, True])
def test_topk_names_a_wrong_k(k):
    x, w, _ = tensors()
    with pytest.raises(ValueError, match=f"k is {k!r}.*53 labels"):
        torchbce.linear_topk(x, w, k)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # read by torch.compile where it goes on
def test_compile_leaves_the_call_out_and_says_why():
    given = tensors()
    function = ours(positives())
    encoder = lambda x, w, b: function(x * 2, w, b)  # noqa: E731
    torch._dynamo.reset()
    assert_close(run(torch.compile(encoder, backend="eager"), given), run(encoder, given), torch.float64)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="goes tile by tile"):
        torch.compile(encoder, backend="eager", fullgraph=True)(*given)


def test_a_matrix_of_whole_numbers_may_hold_the_ignored_one():
    target = matrix(*positives()).long()
    target[4] = -1
    expected = run(stored(target, torchbce.functional.binary_cross_entropy_with_logits, ignore_index=-1), tensors())
    assert_close(run(ours(target, ignore_index=-1), tensors()), expected, torch.float64)


def test_an_ignored_number_that_float32_rounds_is_not_counted():
    target = torch.tensor([[0.1, 1.0], [0.0, 0.1]])
    x, w = torch.ones(2, 1), torch.ones(2, 1)
    options = {"ignore_index": 0.1, "normalize": "valid"}
    expected = torchbce.functional.binary_cross_entropy_with_logits(x @ w.T, target, **options)
    assert torch.allclose(linear_binary_cross_entropy(x, w, target, **options), expected)
    assert torchbce.global_denominator(target, ignore_index=0.1) == 2


def test_a_step_of_sgd_is_never_taken_by_a_copy():
    x, w, b = tensors(torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda t: t):
        value = ours(positives(), sgd_lr=0.1)(x, w, b)
    with pytest.raises(RuntimeError, match="gives backward a copy"):
        value.backward()


def test_float8_targets_are_read():
    target = matrix(*positives()).to(torch.float8_e4m3fn)
    assert_close(run(ours(target), tensors()), run(ours(positives()), tensors()), torch.float64)


def test_a_mean_of_nothing():
    x, w, b = tensors()
    value = ours(matrix(*positives()), mask=torch.zeros(LABELS, dtype=torch.bool), normalize="valid")(x, w, b)
    value.backward()
    assert value.item() == 0
    assert not w.grad.any()
    empty = linear_binary_cross_entropy(x[:0], w, torch.zeros(0, LABELS))
    assert math.isnan(empty.item())


def test_wanted_names_what_a_head_has():
    assert Wanted._fields == problem.Head._fields


def example(name, *arguments):
    return forked.program(Path(__file__).parents[1] / "examples" / name, *arguments).stdout


@pytest.mark.slow
def test_the_example_with_many_labels_is_that_of_stored_logits():
    small = ("1000", "--steps", "10")
    losses = [re.findall(r"BCE = (\S+)", example("extreme_labels.py", *small, *dense)) for dense in ([], ["--dense"])]
    assert len(losses[0]) == 6
    assert [float(x) for x in losses[0]] == pytest.approx([float(x) for x in losses[1]], rel=1e-3)


@pytest.mark.slow
def test_the_example_of_two_towers_has_the_loss_curve_of_the_formula():
    apart = re.search(r"differ by (\S+) of themselves", example("siglip.py", "128"))
    assert float(apart[1]) <= 60 * 2.0**-23 * 10  # 60 steps, each rounded, of weights of about ten terms' size


@pytest.mark.parametrize("how", ["tied", "features that are the weight"])
def test_a_gradient_of_the_gradient_keeps_apart_what_is_made_from_what(how):
    """Features that are made from the weight: the gradient by the weight alone is not that by both ways."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(6, 3, dtype=torch.float64, generator=g).requires_grad_()
    rows = torch.arange(6)

    def loss(function, w):
        return function(w.tanh() if how == "tied" else w, w)

    def gradients(function):
        (first,) = torch.autograd.grad(loss(function, w), w, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), w)
        return first.detach(), second

    found = gradients(lambda x, w: linear_binary_cross_entropy(x, w, (rows, rows)))
    expected = gradients(lambda x, w: torch_bce(x @ w.T, torch.eye(6, dtype=torch.float64)))
    assert_close(found, expected, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_half_precision_losses_do_not_overflow_in_a_transform(dtype):
    x, w = torch.zeros(300, 2, dtype=dtype), torch.zeros(400, 2, dtype=dtype)
    target = torch.zeros(300, 400, dtype=dtype)
    mean = torch.func.grad_and_value(lambda w: linear_binary_cross_entropy(x, w, target))(w)[1]
    assert mean == linear_binary_cross_entropy(x, w, target)
    assert abs(mean.item() - math.log(2)) <= EPS[dtype] * math.log(2)


def test_true_values_that_stand_twice_are_one_positive():
    at = torch.tensor([0, 2, 3]), torch.tensor([1, 1, 4])
    target = torch.sparse_csr_tensor(*at, torch.tensor([True, True, True]), (2, LABELS), check_invariants=False)
    expected = torch.zeros(2, LABELS, dtype=torch.float64)
    expected[0, 1] = expected[1, 4] = 1
    given = tensors(rows=2)
    assert_close(run(ours(target), given), run(ours(expected), given), torch.float64)


WRONG_MODULES = {
    "an unknown option": ({"gama": 2.0}, TypeError, "no option 'gama'"),
    "an argument of the call": ({"mask": torch.ones(3) > 0}, TypeError, "goes to the call"),
    "the layer's own": ({"linear_bias": torch.zeros(3)}, TypeError, "no option 'linear_bias'"),
    "reduction": ({"reduction": "avg"}, ValueError, "'avg' is not"),
    "learning rate": ({"sgd_lr": -1.0}, ValueError, "sgd_lr is -1"),
    "probabilities": ({"loss": torchbce.focal_loss}, TypeError, "takes probabilities"),
}


@pytest.mark.parametrize("name", WRONG_MODULES)
def test_a_module_names_a_wrong_option_when_it_is_made(name):
    options, error, words = WRONG_MODULES[name]
    with pytest.raises(error, match=words):
        torchbce.LinearBCELoss(4, 3, **options)


def test_a_step_of_sgd_needs_the_parameter_itself():
    x, w, b = tensors()
    with pytest.raises(ValueError, match="linear_weight itself.*would be lost"):
        ours(positives(), sgd_lr=0.1)(x, w * 2, b)
    with pytest.raises(ValueError, match="sgd_lr is nan"):
        ours(positives(), sgd_lr=math.nan)(x, w, b)


def test_options_of_a_module_move_with_it_and_are_not_saved():
    head = torchbce.LinearBCELoss(4, 3, pos_weight=torch.ones(3), normalize=torch.tensor(70_000.0)).half()
    assert head.loss_pos_weight.dtype == torch.float16
    assert set(head.state_dict()) == {"weight", "bias"}
    assert torch.isfinite(head(torch.ones(2, 4, dtype=torch.float16), torch.tensor([[0], [2]])))
    before = head.weight.clone()
    head.reset_parameters()
    assert not torch.equal(head.weight, before)
