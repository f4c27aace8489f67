"""The options of every loss and the losses of the family: beside composed operations, beside peers, by identities."""

from __future__ import annotations

import math
import re
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import torchbce
from family_calls import ENGINES, FAMILY, both, by_reference, data
from torchbce import functional
from torchbce.engine import select

LOSSES = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


DERIVED = [name for name in FAMILY if "detached" not in name]  # that one's derivative is not its value's, on purpose


def takes_probabilities(function):
    return "logits" not in function.__name__


def by_hand(name, x, y, *, weight=None, pos_weight=None, label_smoothing=0.0, target_threshold=None, ignore_index=None,
            mask=None, normalize="numel", reduction="mean"):  # fmt: skip
    """The same of torch's operations, one after another, in float64."""
    x, raw = x.double(), y.double()
    kept = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.expand(x.shape)
    if ignore_index is not None:
        kept = kept & ~(raw.isnan() if math.isnan(ignore_index) else raw == ignore_index)
    y = raw if target_threshold is None else (raw > target_threshold).double()
    y = torch.where(kept, y * (1 - label_smoothing) + label_smoothing / 2, 0.0)
    x = torch.where(kept, x, 0.5)
    logs = (F.logsigmoid(x), F.logsigmoid(-x)) if "logits" in name else (torch.log(x), torch.log1p(-x))
    items = -((1.0 if pos_weight is None else pos_weight) * y * logs[0] + (1 - y) * logs[1])
    weights = torch.as_tensor(1.0 if weight is None else weight, dtype=torch.float64).expand(x.shape)
    items = torch.where(kept, items * weights, 0.0)
    if reduction != "mean":
        return items if reduction == "none" else items.sum()
    below = {"numel": x.numel(), "valid": kept.sum(), "weight": (weights * kept).sum(), "batch": x.shape[0]}
    return items.sum() / (below[normalize] if isinstance(normalize, str) else normalize)


OPTIONS = {
    "smoothing": {"label_smoothing": 0.1},
    "threshold": {"target_threshold": 0.3},
    "threshold and smoothing": {"target_threshold": 0.3, "label_smoothing": 0.2},
    "ignored": {"ignore_index": 1.0},
    "ignored, by the valid": {"ignore_index": 1.0, "normalize": "valid"},
    "mask": {"mask": torch.tensor([[True, False, True]]), "normalize": "valid"},
    "batch": {"normalize": "batch"},
    "number": {"normalize": 17.0},
    "tensor": {"normalize": torch.tensor(17.0)},
    "pos_weight": {"pos_weight": torch.tensor([1.0, 2.0, 0.3])},
    "weights": {"weight": torch.tensor([[0.5], [2.0]] * 35), "normalize": "weight"},
    "everything": {
        "weight": torch.tensor([0.5, 1.0, 3.0]),
        "pos_weight": 3.0,
        "label_smoothing": 0.1,
        "target_threshold": 0.5,
        "ignore_index": 0.0,
        "mask": torch.arange(70)[:, None] % 3 > 0,
        "normalize": "weight",
    },
}


# The compiled kernels have options apart from the loss, and differ in them by pass: sums, items, slopes.
def only_by_pass(engine, options):
    return engine == "cpu" and options != "everything"


@pytest.mark.parametrize(
    ("engine", "options", "name"),
    [
        (engine, options, name)
        for engine in ENGINES
        for options in OPTIONS
        for name in LOSSES
        if "logits" in name or not only_by_pass(engine, options)
    ],
)
def test_options_are_what_composed_operations_give(engine, options, name):
    compiled = only_by_pass(engine, options)
    x, y = data(name, dtype=torch.float32)
    given = {key: value.to(x.device) if torch.is_tensor(value) else value for key, value in OPTIONS[options].items()}
    # A slope of probabilities is (x - y) / (x (1 - x)), and y may be rounded after smoothing.
    atol = 1e-7 if "logits" in name else 2.0**-24 / (x * (1 - x)).min().item()
    for reduction in ("mean", "sum") if compiled else ("mean", "sum", "none"):
        wanted = given | {"reduction": reduction}
        if reduction != "mean":
            wanted.pop("normalize", None)
        with select.forced(engine):
            value, slopes = both(getattr(functional, name), x, y, **wanted)
        expected, expected_slopes = both(partial(by_hand, name), x.double(), y, **wanted)
        torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=1e-7)
        torch.testing.assert_close(slopes.double(), expected_slopes, rtol=2e-5, atol=atol)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("name", LOSSES)
def test_options_on_many_items_and_in_half_precision(engine, name):
    x, y = data(name, (20_000, 3), torch.float32)
    x = x if "logits" in name else x.clamp(0.01, 0.99)  # bfloat16 would round some to 1
    wanted = OPTIONS["everything"] | {"mask": torch.arange(20_000)[:, None] % 3 > 0}
    with select.forced(engine):
        value, slopes = both(getattr(functional, name), x, y, **wanted)
        half, half_slopes = both(getattr(functional, name), x.bfloat16(), y.bfloat16(), **wanted)
    expected, expected_slopes = both(partial(by_hand, name), x.double(), y, **wanted)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(slopes.double(), expected_slopes, rtol=2e-5, atol=1e-10)
    of_halves, of_half_slopes = both(partial(by_hand, name), x.bfloat16().double(), y, **wanted)
    torch.testing.assert_close(half.double(), of_halves, rtol=4e-3, atol=0)  # computed in float32, rounded once
    torch.testing.assert_close(half_slopes.double(), of_half_slopes, rtol=4e-3, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LOSSES)
def test_ignored_items_add_nothing_whatever_they_hold(engine, name):
    x, y = data(name, (300,), torch.float32)
    kept = torch.arange(300) % 4 > 0
    wild = torch.where(kept, x, torch.tensor([math.nan, math.inf, -math.inf, 7.0]).repeat(75))
    marked = torch.where(kept, y, math.nan)
    with select.forced("reference"):
        clean = both(getattr(functional, name), x[kept], y[kept])
    with select.forced(engine):
        for options in ({"mask": kept}, {"ignore_index": math.nan}):
            target = y if "mask" in options else marked
            value, slopes = both(getattr(functional, name), wild, target, normalize="valid", **options)
            torch.testing.assert_close(value, clean[0], rtol=1e-6, atol=0)
            torch.testing.assert_close(slopes[kept], clean[1], rtol=2e-6, atol=1e-9)
            assert (slopes[~kept] == 0).all()
            if engine != "cpu" or name == "binary_cross_entropy":  # options are apart from the loss there
                items, _ = both(getattr(functional, name), wild, target, reduction="none", **options)
                assert (items[~kept] == 0).all()
        nothing = getattr(functional, name)(wild, marked, mask=torch.zeros(1, dtype=torch.bool), normalize="valid")
        assert nothing == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("shape", "dim"), [((6, 5), None), ((2, 4, 3, 5), None), ((2, 4, 3, 5), 1), ((3, 7, 4), -1)])
def test_class_numbers_are_one_hot_targets(engine, shape, dim):
    name = "binary_cross_entropy_with_logits"
    place = 1 if dim is None else dim % len(shape)
    x, _ = data(name, shape, torch.float32)
    if len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    classes = shape[place]
    numbers = torch.randint(classes, shape[:place] + shape[place + 1 :])
    dense = F.one_hot(numbers, classes).movedim(-1, place).float()
    along = (-1, *(1,) * (len(shape) - place - 1))
    weights = torch.linspace(0.5, 2, classes)
    function = getattr(functional, name)
    soft = dense * 0.9 + 0.1 / classes  # spread over the classes, as in timm
    some = torch.where(torch.rand(numbers.shape) > 0.5, numbers, -100)
    kept = (some >= 0).unsqueeze(place).expand(shape)
    by_number = {"num_classes": classes, "class_dim": dim}
    with select.forced(engine):
        found = both(function, x, numbers, **by_number, pos_weight=weights, weight=weights)
        smooth = both(function, x, numbers, **by_number, reduction="sum", label_smoothing=0.1)
        partly = both(function, x, some, **by_number, ignore_index=-100, normalize="valid")
    with select.forced("reference"):
        same = both(function, x, dense, pos_weight=weights.reshape(along), weight=weights.reshape(along))
        smoothed = both(function, x, soft, reduction="sum")
        masked = both(function, x, dense, mask=kept, normalize="valid")
    torch.testing.assert_close(found, same, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(smooth, smoothed, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(partly, masked, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_class_numbers_that_do_not_exist_are_named(engine):
    with select.forced(engine), pytest.raises(ValueError, match=r"from 0 to 2, but element \(1,\) is 5"):
        torchbce.functional.binary_cross_entropy_with_logits(torch.zeros(2, 3), torch.tensor([0, 5]), num_classes=3)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_targets_of_logits_are_checked_on_request(engine):
    x, y = torch.zeros(500), torch.ones(500)
    y[321] = -1
    function = torchbce.functional.binary_cross_entropy_with_logits
    with select.forced(engine):
        assert function(x, y) is not None
        for reduction in ("mean", "none") if engine == "reference" else ("mean",):
            with pytest.raises(RuntimeError, match=r"element \(321,\) is -1 .*like \{-1, 1\}: write \(target"):
                function(x, y, validate="raise", reduction=reduction)
        assert function(x, y, validate="raise", ignore_index=-1, normalize="valid") == function(x[:321], y[:321])
    for values, word in (([0.0, 255.0], "{0, 255}"), ([1.0, 2.0], "{1, 2}"), ([0.0, 0.7, 3.0], "targets are 0, 1")):
        with select.forced(engine), pytest.raises(RuntimeError, match=re.escape(word)):
            function(torch.zeros(len(values)), torch.tensor(values), validate="raise")
    for wrong, message in ((0.0, "validate is"), ("none", "probabilities are always checked")):
        with pytest.raises(ValueError, match=message):
            torchbce.functional.binary_cross_entropy(torch.rand(3), torch.ones(3), validate=wrong)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5"),
        ({"label_smoothing": "much"}, TypeError, "label_smoothing must be a number"),
        ({"mask": torch.ones(3)}, TypeError, "mask must be a Tensor of torch.bool"),
        ({"mask": torch.ones(7, dtype=torch.bool)}, RuntimeError, "mask of shape"),
        ({"normalize": "items"}, ValueError, "normalize is 'items'; it is 'numel'"),
        ({"normalize": "valid", "reduction": "sum"}, ValueError, "normalize is what reduction='mean' divides by"),
        ({"normalize": torch.ones(2)}, ValueError, "normalize is one number"),
        ({"class_dim": 4}, ValueError, "class_dim is 4"),
        ({"class_dim": 0, "weight": torch.ones(3)}, RuntimeError, "weight has 3 values"),
        ({"num_classes": 4}, ValueError, "num_classes=4 needs an input with 4 in dimension 1"),
    ],
)
def test_bad_options_say_what_is_allowed(options, error, message):
    for name in LOSSES:
        with pytest.raises(error, match=message):
            getattr(functional, name)(torch.full((2, 3), 0.5), torch.ones(2, 3), **options)


@by_reference
def test_modules_keep_options():
    x, y = data("logits", (8, 3), torch.float32)
    module = torchbce.BCEWithLogitsLoss(pos_weight=2.0, label_smoothing=0.1, ignore_index=0.0, normalize="valid")
    mask = torch.rand(8, 3) > 0.5
    function = functional.binary_cross_entropy_with_logits
    options = {"pos_weight": 2.0, "label_smoothing": 0.1, "ignore_index": 0.0, "normalize": "valid"}
    assert module(x, y, mask) == function(x, y, mask=mask, **options)
    p = torchbce.BCELoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]))
    assert list(p.state_dict()) == ["pos_weight"]
    assert p(x.sigmoid(), y) == functional.binary_cross_entropy(
        x.sigmoid(), y, pos_weight=torch.tensor([1.0, 2.0, 3.0])
    )
    with pytest.raises(TypeError, match="there is no option 'smoothing'"):
        torchbce.BCELoss(smoothing=0.1)
    for module in (torchbce.BCELoss, torchbce.BCEWithLogitsLoss):
        with pytest.raises(TypeError, match="there is no option 'mask'"):  # it goes to the call
            module(mask=mask)
    assert str(torchbce.FocalLoss()) == "FocalLoss(gamma=2.0)"
    assert str(torchbce.FocalLoss(label_smoothing=0.1)) == "FocalLoss(gamma=2.0, label_smoothing=0.1)"


# The family


@pytest.mark.parametrize("engine", ["cpu", "gpu"])
@pytest.mark.parametrize("name", FAMILY)
def test_the_engines_agree(engine, name):
    function, options = FAMILY[name]
    x, y = data(function.__name__, dtype=torch.float32)
    more = {"mask": torch.rand(70, 3) > 0.2, "label_smoothing": 0.1, "weight": torch.tensor([0.5, 1.0, 2.0])}
    # Options are apart from the loss in the compiled kernels, as are the passes: one loss shows them.
    extras = ({}, more, {"reduction": "none"}) if engine == "gpu" or name == "asymmetric" else ({},)
    for extra in extras:
        for rows in (slice(None), *(slice(k, k + 1) for k in range(8))):
            wanted = extra | ({"mask": more["mask"][rows]} if "mask" in extra else {})
            with select.forced("reference"):
                expected = both(function, x[rows].double(), y[rows].double(), **options, **wanted)
            with select.forced(engine):
                found = both(function, x[rows], y[rows], **options, **wanted)
            for ours, exact in zip(found, expected, strict=True):
                torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-6)
            if engine == "gpu":
                break


@by_reference
@pytest.mark.parametrize("name", DERIVED)
def test_first_and_second_derivatives(name):
    function, options = FAMILY[name]
    x, y = data(function.__name__, (5, 3), scale=2.0)
    # |p - y|^beta has no second derivative where p = y; other points are far enough from it.
    run = partial(function, reduction="none", **options)
    x = x.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: run(v, y), x)
    if "distribution" not in name:  # its weights take the target as a constant
        assert torch.autograd.gradcheck(lambda v, t: run(v, t), (x, (0.2 + 0.6 * y).requires_grad_()))
        hard, near = y.clone().requires_grad_(), (y * 0.99998 + 1e-5).requires_grad_()
        slopes = [torch.autograd.grad(run(x, t, validate=None).sum(), t)[0] for t in (hard, near)]
        torch.testing.assert_close(*slopes, rtol=2e-2, atol=1e-3)
    assert torch.autograd.gradgradcheck(lambda v: run(v, y), x)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("name", [name for name in FAMILY if "probabilities" not in name])
def test_gradients_are_finite_at_any_logit(name, engine):
    function, options = FAMILY[name]
    dtype = torch.float32
    x = torch.tensor([0.0, 1e-30, 1.0, 20.0, 90.0, 700.0, 1e4, 1e20], dtype=dtype)
    x = torch.cat([x, -x])[:, None].expand(-1, 3)
    for target in (0.0, 0.3, 1.0):
        with select.forced(engine):
            value, slopes = both(function, x, torch.full_like(x, target), **options)
        assert value.isfinite()  # of non-negative items
        assert slopes.isfinite().all()


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("name", [name for name in FAMILY if "probabilities" not in name])
def test_the_gradient_at_a_logit_of_0_is_the_one_beside_it(name, engine):
    """Two branches of the formulas meet there; a network whose last layer begins at 0 gives all of its items."""
    function, options = FAMILY[name]
    y = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.3]])
    with select.forced(engine):
        at, beside = (both(function, torch.full_like(y, logit), y, **options)[1] for logit in (0.0, 1e-6))
    torch.testing.assert_close(at, beside, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "dtype", "engine"),
    [
        ("focal", torch.float16, "reference"),
        ("focal", torch.bfloat16, "cpu"),
        ("asymmetric of probabilities", torch.bfloat16, "reference"),
        ("distribution-balanced", torch.float16, "reference"),
    ],
)
def test_half_precision_is_computed_in_float32(name, dtype, engine):
    function, options = FAMILY[name]
    x, y = data(function.__name__, dtype=dtype)
    with select.forced(engine):
        found = both(function, x, y, reduction="none", **options)
        exact = both(function, x.float(), y.float(), reduction="none", **options)
    torch.testing.assert_close(found[0], exact[0].to(dtype), rtol=0, atol=0)
    torch.testing.assert_close(found[1], exact[1].to(dtype), rtol=0, atol=0)


@by_reference
def test_losses_without_their_options_are_bce():
    x, y = data("logits", (40, 3))
    p = x.sigmoid()
    bce, of_p = both(functional.binary_cross_entropy_with_logits, x, y), both(functional.binary_cross_entropy, p, y)
    same = [
        (torchbce.focal_loss_with_logits, {"gamma": 0.0}),
        (torchbce.quality_focal_loss_with_logits, {"beta": 0.0}),
        (torchbce.poly1_loss_with_logits, {"epsilon": 0.0}),
        (torchbce.asymmetric_loss_with_logits, {"gamma_pos": 0.0, "gamma_neg": 0.0, "clip": 0.0}),
        (torchbce.logit_adjusted_loss_with_logits, {"prior": 0.5}),
        (torchbce.class_balanced_loss_with_logits, {"positives": 50, "negatives": 50}),
        (functional.binary_cross_entropy_with_logits, {"label_smoothing": 0.0, "pos_weight": 1.0}),
    ]
    for function, options in same:
        torch.testing.assert_close(both(function, x, y, **options), bce, rtol=1e-12, atol=1e-15)
    for function, options in (
        (torchbce.focal_loss, {"gamma": 0.0}),
        (torchbce.quality_focal_loss, {"beta": 0.0}),
        (torchbce.poly1_loss, {"epsilon": 0.0}),
        (torchbce.asymmetric_loss, {"gamma_pos": 0.0, "gamma_neg": 0.0, "clip": 0.0}),
        (functional.binary_cross_entropy, {"pos_weight": 1.0}),
    ):
        torch.testing.assert_close(both(function, p, y, **options), of_p, rtol=1e-9, atol=1e-12)


@by_reference
@pytest.mark.parametrize("name", FAMILY)
def test_identities(name):
    function, options = FAMILY[name]
    x, y = data(function.__name__, (30, 3))
    total = partial(function, reduction="sum", **options)
    twice = torch.ones(30, 1, dtype=torch.float64)
    twice[:7] = 2
    repeated = torch.cat([x, x[:7]]), torch.cat([y, y[:7]])
    torch.testing.assert_close(total(x, y, weight=twice), total(*repeated))
    mask = torch.arange(30)[:, None] >= 7
    torch.testing.assert_close(total(x, y, mask=mask), total(x[7:], y[7:]))
    torch.testing.assert_close(total(x, y, label_smoothing=0.0), total(x, y))


@by_reference
def test_swapping_the_classes_flips_the_logit():
    x, y = data("logits")
    for function, options, swapped in (
        (torchbce.focal_loss_with_logits, {"alpha": 0.3}, {"alpha": 0.7}),
        (torchbce.poly1_loss_with_logits, {"alpha": 0.3, "gamma": 1.0}, {"alpha": 0.7, "gamma": 1.0}),
        (torchbce.quality_focal_loss_with_logits, {}, {}),
        (torchbce.logit_adjusted_loss_with_logits, {"prior": 0.1}, {"prior": 0.9}),
        (
            torchbce.asymmetric_loss_with_logits,
            {"clip": 0.0, "gamma_pos": 1.0, "gamma_neg": 3.0},
            {"clip": 0.0, "gamma_pos": 3.0, "gamma_neg": 1.0},
        ),
    ):
        torch.testing.assert_close(function(x, y, **options), function(-x, 1 - y, **swapped))
