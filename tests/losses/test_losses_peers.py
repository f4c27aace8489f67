"""The family beside timm, kornia, torchvision, MONAI, Keras and optax; modules, processes, help."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import peers
import torchbce
from family_calls import ENGINES, FAMILY, beside, both, by_reference, data
from torchbce import functional
from torchbce.engine import select
from torchbce.formula.loss import Loss

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
