"""The options of every loss and the losses of the family: beside composed operations, beside peers, by identities."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
import textwrap
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import peers
import torchbce
from torchbce import functional
from torchbce.engine import select
from torchbce.formula.loss import Loss

# The engines are shown to agree; what holds for one holds for all, and nothing has to be compiled.
by_reference = pytest.mark.usefixtures("reference")


ENGINES = ["cpu", "gpu", "reference"]
LOSSES = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]
FAMILY = {  # name: (function, its options)
    "focal": (torchbce.focal_loss_with_logits, {"gamma": 1.7, "alpha": 0.3}),
    "focal of probabilities": (torchbce.focal_loss, {"gamma": 1.7, "alpha": 0.3}),
    "quality focal": (torchbce.quality_focal_loss_with_logits, {"beta": 2.0}),
    "quality focal of probabilities": (torchbce.quality_focal_loss, {"beta": 2.0}),
    "poly-1": (torchbce.poly1_loss_with_logits, {"epsilon": 1.5, "gamma": 1.2}),
    "poly-1 of probabilities": (torchbce.poly1_loss, {"epsilon": 1.5, "gamma": 1.2}),
    "asymmetric": (torchbce.asymmetric_loss_with_logits, {}),
    "asymmetric, detached": (torchbce.asymmetric_loss_with_logits, {"detach_focus": True}),
    "asymmetric without margin": (torchbce.asymmetric_loss_with_logits, {"clip": 0.0}),
    "asymmetric of probabilities": (torchbce.asymmetric_loss, {}),
    "logit-adjusted": (torchbce.logit_adjusted_loss_with_logits, {"prior": 0.1}),
    "class-balanced": (torchbce.class_balanced_loss_with_logits, {"positives": 20, "negatives": 300, "gamma": 1.0}),
    "distribution-balanced": (
        torchbce.distribution_balanced_loss_with_logits,
        {"class_counts": torch.tensor([3.0, 20.0, 70.0]), "num_samples": 100},
    ),
}
DERIVED = [name for name in FAMILY if "detached" not in name]  # that one's derivative is not its value's, on purpose


def data(name, shape=(70, 3), dtype=torch.float64, seed=0, scale=3.0):
    torch.manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64) * scale
    x = x if "logits" in name else torch.sigmoid(x)
    return x.to(dtype), (torch.rand(shape, dtype=torch.float64) > 0.6).to(dtype)


def takes_probabilities(function):
    return "logits" not in function.__name__


def both(function, x, y, **options):
    """Value and gradient."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = function(x, y, **options)
    (slopes,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slopes


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


# Peers


def beside(ours, theirs, x, y, **tolerance):
    """Ours in float64 beside a peer, which may compute in float32 itself."""
    a, b = both(ours, x, y), [found.double() for found in both(theirs, x, y)]
    torch.testing.assert_close(a, tuple(b), **({"rtol": 1e-9, "atol": 1e-12} | tolerance))


IN_FLOAT32 = {"rtol": 1e-4, "atol": 1e-7}  # timm's own rounding, near its floor of 1e-8 above all


@by_reference
@pytest.mark.parametrize("soft", [False, True])
def test_focal_is_torchvisions_monais_and_kornias(soft):
    from kornia.losses import binary_focal_loss_with_logits
    from monai.losses.focal_loss import sigmoid_focal_loss

    x, y = data("logits", scale=6.0)
    y = 0.1 + 0.7 * y if soft else y
    for alpha in (None, 0.25):
        ours = partial(torchbce.focal_loss_with_logits, gamma=2.0, alpha=alpha, reduction="none")
        beside(ours, partial(peers.torchvision_focal, alpha=alpha), x, y)
        if not soft:  # theirs are other functions of soft targets
            beside(ours, lambda a, b, alpha=alpha: sigmoid_focal_loss(a, b, gamma=2.0, alpha=alpha), x, y)
            kornia = partial(binary_focal_loss_with_logits, gamma=2.0, alpha=alpha, reduction="none")
            beside(ours, kornia, x, y)


@by_reference
def test_focal_is_kerass(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras

    x, y = data("logits", dtype=torch.float32)
    theirs = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.3, gamma=1.5, from_logits=False, label_smoothing=0.1, reduction=None
    )
    ours = torchbce.focal_loss(x.sigmoid(), y, gamma=1.5, alpha=0.3, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(ours.mean(-1), theirs(y, x.sigmoid()).cpu(), rtol=1e-5, atol=1e-6)


@by_reference
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_asymmetric_is_timms(smoothing):
    peer = peers.timm_module("asymmetric_loss").AsymmetricLossMultiLabel
    x, y = data("logits")
    for options in ({}, {"gamma_neg": 2.0, "gamma_pos": 0.0, "clip": 0.0}, {"gamma_neg": 0.0, "gamma_pos": 0.0}):
        for detach in (False, True):
            theirs = peer(reduction="mean", smoothing=smoothing, disable_torch_grad_focal_loss=detach, **options)
            ours = partial(
                torchbce.asymmetric_loss_with_logits, detach_focus=detach, label_smoothing=smoothing, **options
            )
            beside(ours, theirs, x, y, **IN_FLOAT32)
    weights = {"pos_weight": torch.tensor([1.0, 2.0, 3.0]), "weight": torch.tensor([0.5, 1.0, 2.0])}
    theirs = peer(reduction="batchmean", **weights)
    beside(partial(torchbce.asymmetric_loss_with_logits, normalize="batch", **weights), theirs, x, y, **IN_FLOAT32)


@by_reference
def test_poly1_is_timms_and_optaxs():
    peer = peers.timm_module("poly_loss").PolyBinaryCrossEntropy
    x, y = data("logits")
    for options in ({"epsilon": 2.0}, {"epsilon": -1.0, "gamma": 2.0, "alpha": 0.25}):
        ours = partial(torchbce.poly1_loss_with_logits, label_smoothing=0.1, **options)
        beside(ours, peer(smoothing=0.1, **options), x, y, **IN_FLOAT32)
    beside(partial(torchbce.poly1_loss_with_logits, reduction="none"), peers.optax_poly, *data("logits"))


@by_reference
def test_distribution_balanced_is_timms():
    peer = peers.timm_module("distribution_balanced_loss").DistributionBalancedLoss
    x, y = data("logits")
    counts = torch.tensor([3.0, 20.0, 70.0])
    for options in ({}, {"focal_gamma": 0.0, "neg_scale": 1.0, "smoothing": 0.1}, {"init_bias": 0.0, "map_beta": 5.0}):
        theirs = peer(counts, 100, **options)
        named = {{"focal_gamma": "gamma", "smoothing": "label_smoothing"}.get(k, k): v for k, v in options.items()}
        ours = partial(torchbce.distribution_balanced_loss_with_logits, class_counts=counts, num_samples=100, **named)
        beside(ours, theirs, x, y, **IN_FLOAT32)


@by_reference
def test_bce_options_are_timms():
    peer = peers.timm_module("binary_cross_entropy").BinaryCrossEntropy
    x, _ = data("logits", (9, 4))
    numbers, soft = torch.randint(4, (9,)), torch.rand(9, 4, dtype=torch.float64)
    bce = functional.binary_cross_entropy_with_logits
    beside(partial(bce, num_classes=4, label_smoothing=0.1), peer(smoothing=0.1), x, numbers)
    beside(partial(bce, target_threshold=0.4), peer(target_threshold=0.4), x, soft)
    beside(partial(bce, normalize="batch"), peer(smoothing=0.0, sum_classes=True), x, soft)
    beside(partial(bce, label_smoothing=0.1), peer(smoothing=0.1, smooth_dense=True), x, soft)


@by_reference
def test_the_published_formulas():
    x, y = data("logits")
    soft = 0.1 + 0.7 * y
    beside(partial(torchbce.quality_focal_loss_with_logits, reduction="none"), peers.quality_focal, x, soft)
    prior = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    ours = partial(torchbce.logit_adjusted_loss_with_logits, prior=prior, tau=1.5, reduction="none")
    beside(ours, partial(peers.logit_adjusted, prior=prior, tau=1.5), x, y)
    ours = partial(torchbce.class_balanced_loss_with_logits, positives=20, negatives=300, gamma=1.5, reduction="none")
    beside(ours, partial(peers.class_balanced, positives=20, negatives=300, gamma=1.5), x, y)
    smooth = functional.binary_cross_entropy_with_logits(x, y, label_smoothing=0.3)
    torch.testing.assert_close(smooth, F.binary_cross_entropy_with_logits(x, peers.keras_smoothed(y, 0.3)))


def test_weights_from_counts_are_timms():
    peer = peers.timm_module("class_weights").compute_class_weights
    counts = torch.tensor([3.0, 20.0, 70.0])
    torch.testing.assert_close(
        torchbce.pos_weight_from(counts, 100, power=0.5, most=4.0), peer(counts, 100, "neg_pos", 0.5, max_weight=4.0)[1]
    )
    torch.testing.assert_close(torchbce.class_weight_from(counts, 100), peer(counts, 100, "inv_freq")[1])
    effective = torchbce.class_weight_from(counts, 100, rule="effective", beta=0.99)
    torch.testing.assert_close(effective, peer(counts, 100, "effective_num", beta=0.99)[1])
    targets = torch.rand(50, 4) > 0.7
    torch.testing.assert_close(torchbce.prior_bias(targets.float()).sigmoid(), targets.float().mean(0))
    for wrong in (lambda: torchbce.prior_bias(torch.tensor([101.0]), 100), lambda: torchbce.pos_weight_from(counts)):
        with pytest.raises(ValueError, match="counts"):
            wrong()
    with pytest.raises(ValueError, match="rule is 'mean'"):
        torchbce.class_weight_from(counts, 100, rule="mean")


@by_reference
@pytest.mark.parametrize("name", FAMILY)
def test_modules_are_their_functions(name):
    function, options = FAMILY[name]
    module = next(m for m in map(torchbce.__getattr__, torchbce.__all__) if getattr(m, "function", None) is function)
    x, y = data(function.__name__, dtype=torch.float32)
    made = module(weight=torch.tensor([0.5, 1.0, 2.0]), reduction="sum", **options)
    assert made(x, y) == function(x, y, weight=torch.tensor([0.5, 1.0, 2.0]), reduction="sum", **options)
    assert "weight" in made.state_dict()
    assert made.double()(x.double(), y.double()).dtype is torch.float64
    with pytest.raises(TypeError, match="mask goes to the call"):
        module(mask=None)
    with pytest.raises(TypeError, match="there is no option 'gama'; there are weight"):
        module(gama=2.0)
    with pytest.raises(TypeError, match="there is no option 'gama'; there are"):
        function(x, y, gama=2.0, **options)


@by_reference
def test_the_family_under_torch_compile():
    x, y = data("logits", dtype=torch.float32)
    compiled = torch.compile(torchbce.focal_loss_with_logits, backend="aot_eager", fullgraph=True)
    for options in ({}, {"alpha": 0.25, "mask": y > 0, "label_smoothing": 0.1}):
        expected = both(torchbce.focal_loss_with_logits, x, y, **options)
        torch.testing.assert_close(both(compiled, x, y, **options), expected, rtol=1e-4, atol=1e-7)


def test_two_processes_and_micro_batches_give_the_global_mean(tmp_path):
    script = textwrap.dedent("""
        import sys
        import torch
        from torch import distributed
        import torchbce
        rank = int(sys.argv[1])
        distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
        torch.manual_seed(0)
        x, y = torch.randn(100, 4), (torch.rand(100, 1) > 0.5).float()
        y[::7] = -100
        shards = [(0, 10, 13), (13, 60, 100)][rank]  # uneven, and each in two uneven micro-batches
        parts = [slice(a, b) for a, b in zip(shards, shards[1:])]
        def bce(model, part, **options):
            return torchbce.functional.binary_cross_entropy_with_logits(
                model(x[part]), y[part], ignore_index=-100, **options)
        torch.manual_seed(1)
        model = torch.nn.Linear(4, 1)
        whole = torch.autograd.grad(bce(model, slice(0, 100), normalize="valid"), model.parameters())
        denominator = torchbce.global_denominator([y[part] for part in parts], ignore_index=-100)
        replica = torch.nn.parallel.DistributedDataParallel(model)
        with replica.no_sync():
            bce(replica, parts[0], normalize=denominator).backward()
        bce(replica, parts[1], normalize=denominator).backward()
        for parameter, expected in zip(model.parameters(), whole):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-8)
        added = torchbce.global_denominator(y[shards[0]:shards[-1]], ignore_index=-100, averaged=False)
        assert added == (y != -100).sum(), added
        print("same")
        distributed.destroy_process_group()
    """)
    command = [sys.executable, "-c", script]
    file = str(tmp_path / "meeting")
    runs = [
        subprocess.Popen([*command, str(rank), file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for run in runs:
        out, error = run.communicate(timeout=120)
        assert out.strip() == "same", error[-2000:]


def test_a_denominator_needs_as_many_masks_as_targets():
    weights = torchbce.global_denominator(torch.ones(2, 3), weights=torch.tensor([1.0, 2.0, 3.0]))
    assert weights == 12
    with pytest.raises(ValueError, match="there are 1 masks for 2 targets"):
        torchbce.global_denominator([torch.ones(3), torch.ones(2)], masks=torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("name", FAMILY)
def test_the_parameters_of_a_formula_are_no_options(name):
    function, options = FAMILY[name]
    x, y = data(function.__name__, (4, 3))
    loss = next(v for v in vars(inspect.getmodule(function)).values() if isinstance(v, Loss))
    for parameter in set(loss.parameters) - set(inspect.signature(function).parameters):
        with pytest.raises(TypeError, match=f"there is no option {parameter!r}; there are weight"):
            function(x, y, **options, **{parameter: 1.0})


def test_help_shows_every_option_with_the_default_that_holds():
    probabilities = [torchbce.BCELoss, torchbce.FocalLoss, functional.binary_cross_entropy, torchbce.focal_loss]
    logits = [
        torchbce.BCEWithLogitsLoss,
        torchbce.FocalWithLogitsLoss,
        functional.binary_cross_entropy_with_logits,
        torchbce.focal_loss_with_logits,
    ]
    for takes, validate in ((probabilities, "raise"), (logits, "none")):
        for one in takes:
            parameters = inspect.signature(one).parameters
            assert parameters["validate"].default == validate
            assert parameters["label_smoothing"].default == 0.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_outside_are_found_where_the_loss_is_a_number(engine, reduction):
    if engine == "gpu" and torch.cuda.is_available():
        pytest.skip("a GPU says it in a later call: test_gpu_losses")
    # The margin takes what is outside to a loss that is finite.
    with select.forced(engine), pytest.raises(RuntimeError, match=r"input should be between 0 and 1, but element \(0,"):
        torchbce.asymmetric_loss(torch.tensor([1.02, 0.5]), torch.tensor([0.0, 1.0]), reduction=reduction)
