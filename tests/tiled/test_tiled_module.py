"""Losses from features: the module, wrong input, steps of SGD, examples, and gradients of gradients."""

from __future__ import annotations

import io
import math
import re

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce
from torch.nn.functional import linear

import forked
import torchbce
from root import ROOT
from tiled_calls import EPS, FEATURES, LABELS, ROWS, assert_close, matrix, ours, positives, run, stored, tensors
from torchbce import linear_binary_cross_entropy
from torchbce.tiled import problem
from torchbce.tiled.passes import Wanted

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse CS[RC] tensor support is in beta"),
    pytest.mark.usefixtures("reference"),  # but where kernels are asked for: each option would be compiled
]


def test_no_step_without_backward_nor_in_evaluation():
    head = torchbce.LinearBCELoss(FEATURES, LABELS, sgd_lr=1.0, dtype=torch.float64)
    before, x = head.weight.detach().clone(), tensors()[0]
    head(x, positives())
    with torch.no_grad():
        head(x, positives())
    head.eval()(x, positives()).backward()
    assert torch.equal(head.weight, before)
    assert head.weight.grad is not None


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
    "reduction": (lambda x, w, b: {"reduction": "avg"}, ValueError, "avg is not"),
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
    return forked.program(ROOT / "examples" / name, *arguments).stdout


@pytest.mark.site
def test_the_example_with_many_labels_is_that_of_stored_logits():
    small = ("1000", "--steps", "10")
    losses = [re.findall(r"BCE = (\S+)", example("extreme_labels.py", *small, *dense)) for dense in ([], ["--dense"])]
    assert len(losses[0]) == 6
    assert [float(x) for x in losses[0]] == pytest.approx([float(x) for x in losses[1]], rel=1e-3)


@pytest.mark.site
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
    "reduction": ({"reduction": "avg"}, ValueError, "avg is not"),
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
