"""EpochBCE says what the loss says of all items at once: under every option, reduction and way to add meters up."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import torchbce
from torchbce import EpochBCE
from torchbce import functional as F
from torchbce.engine import select

ROWS, CLASSES = 24, 3
LOSSES = {
    "BCEWithLogitsLoss": torchbce.BCEWithLogitsLoss,
    "BCELoss": torchbce.BCELoss,
    "FocalWithLogitsLoss": torchbce.FocalWithLogitsLoss,
    "Poly1WithLogitsLoss": torchbce.Poly1WithLogitsLoss,
}


@torchbce.fused_loss
def squared(x, y, power=1.0):
    return (x - y) ** 2 * power


def batches(seed, sizes, *, classes=False, ignored=0.0, number=-100):
    """Inputs, targets and masks of batches; the share `ignored` of the targets is that number."""
    made = torch.Generator().manual_seed(seed)
    rows = sum(sizes)
    x = 2 * torch.randn(rows, CLASSES, generator=made)
    y = torch.rand(rows, CLASSES, generator=made).round()
    if classes:
        y = torch.randint(CLASSES, (rows,), generator=made)
    y = torch.where(torch.rand(y.shape, generator=made) < ignored, torch.tensor(number, dtype=y.dtype), y)
    mask = torch.rand(rows, CLASSES, generator=made) < 0.7
    return [part.split(sizes) for part in (x, y, mask)]


def added_up(parts, way):
    """One meter of several."""
    if way == "merged":
        whole = EpochBCE()
        for part in parts:
            whole.merge(part)
        return whole
    for part in parts[1:]:
        parts[0].merge(part)
    loaded = EpochBCE()
    loaded.load_state_dict(parts[0].state_dict())
    return loaded if way == "loaded" else parts[0].gathered()


@pytest.fixture(autouse=True)
def reference():
    """The losses' own formulas: nothing is compiled for options that only the test has."""
    with select.forced("reference"):
        yield


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_it_is_the_loss_of_all_items_at_once(data):
    """The oracle: one call on the whole epoch, or the sum of its losses by what they are divided by."""
    draw = data.draw
    name = draw(st.sampled_from([*LOSSES, "fused", "function", "torch's"]))
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    options, classes = {}, False
    if name != "torch's":
        options["ignore_index"] = draw(st.sampled_from([None, -100, math.nan]))
        classes = name != "fused" and draw(st.booleans()) and not math.isnan(options["ignore_index"] or 0)
        if classes:
            options["num_classes"] = CLASSES
        elif draw(st.booleans()):
            options["target_threshold"] = 0.5
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.0, 0.2]))
        if reduction == "mean":
            options["normalize"] = draw(st.sampled_from(["numel", "valid", "weight", "batch", 5.0]))
    weight = draw(st.sampled_from([None, torch.tensor([0.5, 2.0, 3.0]), torch.tensor(2.0)]))
    masked = name != "torch's" and draw(st.booleans())
    ignored = options.get("ignore_index")
    xs, ys, masks = batches(
        draw(st.integers(0, 99)),
        sizes,
        classes=classes,
        ignored=0.4 if ignored is not None else 0.0,
        number=-100 if ignored is None else ignored,
    )
    if name == "BCELoss":
        xs = [x.sigmoid() for x in xs]
    kept = {n: v for n, v in {**options, "weight": weight}.items() if v is not None}
    if name == "function":
        loss = functools.partial(F.binary_cross_entropy_with_logits, reduction=reduction, **kept)
    elif name == "torch's":
        loss = torch.nn.BCEWithLogitsLoss(weight=weight, reduction=reduction)
    elif name == "fused":
        loss = squared.module(reduction=reduction, **kept)
    else:
        loss = LOSSES[name](reduction=reduction, **kept)

    way, parts = draw(st.sampled_from(["merged", "loaded", "gathered"])), [EpochBCE(loss), EpochBCE(loss)]
    for number, (x, y, mask) in enumerate(zip(xs, ys, masks, strict=True)):
        call = {"mask": mask} if masked else {}
        parts[number % 2].update(loss(x, y, **call), y, **call)
    meter = added_up(parts, way)

    x, y, mask = torch.cat(xs), torch.cat(ys), torch.cat(masks)
    spread = y.unsqueeze(1).expand_as(x) if classes else y
    counts = torch.ones(x.shape, dtype=torch.bool) if ignored is None else ~(spread.isnan() | (spread == ignored))
    counts = counts & mask if masked else counts
    whole = loss(x, y, **({"mask": mask} if masked else {}))
    exact = float(whole.double().sum()) if reduction != "mean" else float(whole)
    if reduction != "mean" or options.get("normalize") == 5.0:
        exact = exact * (5.0 if reduction == "mean" else 1.0) / max(1, int(counts.sum()))
    if not counts.any() and options.get("normalize", "valid" if reduction != "mean" else "numel") not in (
        "numel",
        "batch",
    ):
        assert math.isnan(meter.compute())
        return
    assert meter.compute() == pytest.approx(exact, rel=2e-6, abs=1e-9)
    y = torch.nn.functional.one_hot(y.clamp(min=0), CLASSES).float() if classes else y
    if counts.any():
        assert meter.share == pytest.approx(float(y[counts].mean()), rel=1e-6)
    plain = (
        weight is None
        and not options.get("label_smoothing")
        and name in ("function", "torch's", "BCELoss", "BCEWithLogitsLoss")
    )
    assert ("baseline" in str(meter)) == (plain and bool(counts.any()))
    if plain and counts.any() and reduction == "mean" and options.get("normalize") != 5.0:
        answer = torch.full_like(x, meter.share)
        constant = loss(
            answer if name == "BCELoss" else answer.logit(), torch.cat(ys), **({"mask": mask} if masked else {})
        )
        assert meter.baseline == pytest.approx(float(constant), rel=1e-5, abs=1e-6)


IGNORING = {"ignore_index": -100, "normalize": "valid"}


def test_ignored_items_count_neither_in_the_mean_nor_in_the_base_rate():
    loss = torchbce.BCEWithLogitsLoss(**IGNORING)
    meter = EpochBCE(loss)
    xs = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([4.0, 1.0, 1.0])
    ys = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, -100.0, -100.0])
    for x, y in zip(xs, ys, strict=True):
        meter.update(loss(x, y), y)
    assert meter.compute() == pytest.approx(loss(torch.cat(xs), torch.cat(ys)).item(), rel=1e-6)
    assert (meter.count, meter.share) == (4, 0.25)
    meter.update(loss(xs[1], ys[1]), ys[1], count=1)  # as many as count
    with pytest.raises(ValueError, match="the numbers of items differ: targets 1, count 3"):
        meter.update(loss(xs[1], ys[1]), ys[1], count=3)


def test_a_mean_over_ignored_items_too_is_said_to_be_one():
    meter = EpochBCE(torchbce.BCEWithLogitsLoss(ignore_index=-100))
    meter.update(math.log(2) / 4, torch.tensor([1.0, 0.0, -100.0, -100.0]))
    assert str(meter) == "0.1733 nats per item over 4 items, 2 of them ignored, 50.0 % below baseline"


def test_a_batch_in_which_nothing_counts_adds_nothing():
    for loss in (torchbce.BCEWithLogitsLoss(**IGNORING), torch.nn.CrossEntropyLoss()):
        meter = EpochBCE(loss)
        meter.update(torch.tensor(0.5), torch.tensor([1, 0]))
        meter.update(torch.tensor(math.nan), torch.tensor([-100, -100]))
        assert (meter.compute(), meter.count) == (0.5, 2)


def test_means_per_row_and_per_weight_say_what_they_are_over():
    y = torch.zeros(4, 3)
    rows = EpochBCE(torchbce.BCEWithLogitsLoss(normalize="batch"))
    rows.update(torch.tensor(1.5), y)
    assert str(rows).startswith("1.5000 nats per row over 4 rows")
    weighed = EpochBCE(torchbce.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0]), normalize="weight"))
    weighed.update(torch.tensor(1.5), y)
    assert str(weighed) == "1.5000 nats per unit of weight over 12 items"
    assert weighed.total == 1.5 * 24
    with pytest.raises(ValueError, match="divides by the weights of its items"):
        weighed.update(torch.tensor(1.5), count=4)
    with pytest.raises(ValueError, match="one per row, and this batch's one per item"):
        rows.update(torch.tensor(1.5), y, normalize="valid")
    with pytest.raises(ValueError, match="normalize is 'items'"):
        rows.update(torch.tensor(1.5), y, normalize="items")


def test_the_options_of_a_call_go_to_the_update():
    meter, made = EpochBCE(F.binary_cross_entropy_with_logits), torch.Generator().manual_seed(0)
    x, y = torch.randn(9, generator=made), torch.rand(9, generator=made).round()
    weight, mask = torch.rand(9, generator=made), torch.arange(9) % 3 > 0
    options = {"mask": mask, "weight": weight, "normalize": "weight"}
    for part in (slice(0, 2), slice(2, 9)):
        call = {n: v if n == "normalize" else v[part] for n, v in options.items()}
        meter.update(F.binary_cross_entropy_with_logits(x[part], y[part], **call), y[part], **call)
    assert meter.compute() == pytest.approx(F.binary_cross_entropy_with_logits(x, y, **options).item(), rel=1e-6)
    assert meter.share == y[mask].mean()
    assert "baseline" not in str(meter)
    own = EpochBCE()  # of a loss of one's own the mean is over what the mask keeps
    own.update(F.binary_cross_entropy_with_logits(x, y)[None].expand(9), y, mask=mask)
    own.update(torch.tensor(0.5), y, mask=mask)
    assert own.count == 2 * mask.sum()


def weighted():
    return torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(10.0))


def test_meters_of_different_losses_are_not_merged():
    seen = {}
    for name, loss in (
        ("open", None),
        ("plain", torch.nn.BCELoss()),
        ("weighted", weighted()),
        ("focal", torchbce.FocalLoss()),
        ("valid", torchbce.BCEWithLogitsLoss(**IGNORING)),
    ):
        seen[name] = EpochBCE(loss)
        seen[name].update(torch.tensor(3.0), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    for one in seen.values():
        for other in seen.values():
            if one is other or {one, other} == {seen["open"], seen["plain"]}:
                continue
            with pytest.raises(ValueError, match="their losses do not add up"):
                one.merge(other)
    with pytest.raises(ValueError, match=r"this meter has seen BCE\(pos_weight=10.0\), and the other BCE"):
        seen["weighted"].merge(seen["plain"])
    with pytest.raises(ValueError, match="the state is of BCE, and this meter of BCE"):
        EpochBCE(weighted()).load_state_dict(seen["plain"].state_dict())
    for whole in (EpochBCE(), seen["open"]):
        whole.merge(seen["plain"])
        assert "above baseline" in str(whole)
    empty = EpochBCE()
    empty.merge(seen["weighted"])
    assert str(empty) == "3.0000 nats per item over 4 items"
    with pytest.raises(ValueError, match="their losses do not add up"):
        empty.merge(seen["plain"])


def test_bce_of_logits_and_of_probabilities_is_one_loss():
    one, other = EpochBCE(torchbce.BCELoss()), EpochBCE(torch.nn.BCEWithLogitsLoss(reduction="sum"))
    one.update(torch.tensor(0.5), torch.tensor([1.0, 0.0]))
    other.update(torch.tensor(1.0), torch.tensor([1.0, 0.0]))
    one.merge(other)
    assert (one.compute(), one.count) == (0.5, 4)


class Wrapping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = weighted()


class Smoothed(torch.nn.Module):
    smoothing = 0.1


CHANGED = {
    "compiled": lambda: torch.compile(torchbce.FocalLoss(), backend="eager"),
    "partial": lambda: functools.partial(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(2.0)),
    "another of torch's": torch.nn.MSELoss,
    "inside a module": Wrapping,
    "another library's smoothing": Smoothed,
    "a last layer that is its loss": lambda: torchbce.LinearBCELoss(2, 3, pos_weight=torch.ones(3)),
}


@pytest.mark.parametrize("name", [n if n != "compiled" else pytest.param(n, marks=pytest.mark.slow) for n in CHANGED])
def test_a_changed_loss_is_not_compared_with_the_base_rate(name):
    meter = EpochBCE(CHANGED[name]())
    meter.update(torch.tensor(0.9), torch.tensor([[0.0, 1.0, 1.0]]), reduction="mean")
    assert "baseline" not in str(meter)
    assert math.isnan(meter.gathered().baseline)


def test_a_last_layer_that_is_its_loss_is_compared():
    meter = EpochBCE(torchbce.LinearBCELoss(2, 3, ignore_index=-1))
    meter.update(torch.tensor(0.9), torch.tensor([[0.0, 1.0, -1.0]]))
    assert "above baseline" in str(meter)
    with pytest.raises(ValueError, match="a mean means nothing without its count"):
        meter.update(torch.tensor(0.9), torch.tensor([[0], [2]]))  # numbers of labels


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 3.0, 0.5])])
def test_torchs_cross_entropy_is_divided_as_it_divides(weight):
    loss, made = torch.nn.CrossEntropyLoss(weight=weight), torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=made), torch.randint(3, (12,), generator=made)
    y[2:5] = -100
    meter = EpochBCE(loss)
    for part in (slice(0, 8), slice(8, 12)):
        meter.update(loss(x[part], y[part]), y[part])
    assert meter.compute() == pytest.approx(loss(x, y).item(), rel=1e-6)
    soft = torch.softmax(torch.randn(12, 3, generator=made), 1)
    meter = EpochBCE(loss)
    for part in (slice(0, 8), slice(8, 12)):
        meter.update(loss(x[part], soft[part]), soft[part])
    assert meter.compute() == pytest.approx(loss(x, soft).item(), rel=1e-6)
    assert "baseline" not in str(meter)


def test_a_mean_that_may_divide_by_several_things_is_refused():
    class Foreign(torch.nn.Module):
        ignore_index, reduction = -1, "mean"

    meter = EpochBCE(Foreign())
    meter.update(torch.tensor(1.0), torch.tensor([1.0, 0.0]))  # nothing is ignored
    with pytest.raises(ValueError, match="as it ignores or weighs items: give the number as count="):
        meter.update(torch.tensor(0.5), torch.tensor([1.0, -1.0]))
    meter.update(torch.tensor(0.5), torch.tensor([1.0, -1.0]), count=1)
    assert (meter.compute(), meter.share) == (pytest.approx(2.5 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_loss_says_its_reduction(reduction):
    """A focal loss that is a sum was taken for a mean: its module kept the reduction among its options."""
    x, y = torch.linspace(-2, 2, 6), torch.tensor([0.0, 1.0] * 3)
    for make in (torchbce.FocalWithLogitsLoss, torchbce.BCEWithLogitsLoss, squared.module):
        loss = make(reduction=reduction)
        meter = EpochBCE(loss)
        meter.update(loss(x, y), y)
        assert meter.compute() == pytest.approx(make()(x, y).item(), rel=1e-6)
        assert "taken for" not in str(meter)
        assert loss.reduction == reduction


@pytest.mark.parametrize("options", [IGNORING, {"ignore_index": -100}, {"reduction": "sum"}, {"normalize": "batch"}])
@pytest.mark.parametrize("make", [torchbce.BCEWithLogitsLoss, torchbce.FocalWithLogitsLoss])
def test_the_history_of_fit_is_the_loss_of_all_items(make, options):
    made = torch.Generator().manual_seed(1)
    x, y = torch.randn(50, 2, generator=made), torch.rand(50, 1, generator=made).round()
    y[3::4] = -100 if "ignore_index" in options else y[3::4]
    torch.manual_seed(0)
    net, loss = torch.nn.Linear(2, 1), make(**options)
    still = torch.optim.SGD(net.parameters(), lr=0.0)
    history = torchbce.fit(net, (x, y), loss, optimizer=still, valid=(x, y), epochs=2, batch_size=16, on_epoch=None)
    exact = loss(net(x), y).item() / (len(y) if options.get("reduction") == "sum" else 1)
    for epoch in history:
        assert (epoch.running, epoch.train, epoch.valid) == pytest.approx((exact,) * 3, rel=1e-5)
        counts = y != -100
        share = y[counts].mean().item()
        constant = loss(torch.full_like(y, share).logit(), y).item() / (len(y) if "reduction" in options else 1)
        assert epoch.baseline == pytest.approx(constant, rel=1e-5) or (
            math.isnan(epoch.baseline) and "Focal" in make.__name__
        )
