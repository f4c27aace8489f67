"""The sigmoid loss of all pairs: open_clip's value and gradients, from logits that are never stored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import logsigmoid, normalize

import pairwise_ranks
import torchbce
from torchbce import pairwise_sigmoid_loss
from torchbce.tiled import grid

pytestmark = pytest.mark.usefixtures("reference")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0")


def made(rows=23, others=None, dtype=torch.float64, bias=-10.0):
    """x, y, logit_scale, logit_bias."""
    g = torch.Generator().manual_seed(0)
    x, y = (normalize(torch.randn(n, 7, generator=g, dtype=torch.float64), dim=1) for n in (rows, others or rows))
    numbers = torch.tensor(10.0, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64)
    return [tensor.to(dtype) for tensor in (x, y, *numbers)]


def formula(x, y, scale, bias, labels=None):
    """As open_clip writes it: labels of 1 and -1."""
    if labels is None:
        labels = 2 * torch.eye(len(x), dtype=x.dtype) - 1
    return -logsigmoid(labels * (scale * x @ y.T + bias)).sum() / len(x)


def run(function, given):
    fresh = [tensor.detach().clone().requires_grad_() for tensor in given]
    value = function(*fresh)
    value.backward()
    return [value.detach(), *(tensor.grad for tensor in fresh)]


def assert_close(found, expected, rtol=1e-13):
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert float((mine - theirs).abs().max()) <= rtol * float(theirs.abs().max())


@pytest.mark.parametrize("chunk", ["auto", 1, 5, 23, 100])
def test_chunks_of_any_size_give_the_formula(chunk):
    given = made()
    assert_close(run(lambda *t: pairwise_sigmoid_loss(*t, chunk=chunk), given), run(formula, given))


def test_the_modules_of_open_clip_and_ours_take_the_same_arguments():
    given = made()
    ours = torchbce.SigLipLoss(cache_labels=True, rank=0, world_size=1, dist_impl="bidir", chunk_size=6)
    assert_close(run(ours, given), run(formula, given))
    assert set(ours(*given, output_dict=True)) == {"contrastive_loss"}


def test_pairs_that_are_not_the_diagonal():
    given = made(23, 11)
    rows, columns = torch.tensor([0, 0, 5, 22, 5]), torch.tensor([1, 10, 10, 0, 3])
    labels = -torch.ones(23, 11, dtype=torch.float64)
    labels[rows, columns] = 1
    found = run(lambda *t: pairwise_sigmoid_loss(*t, positives=(rows, columns), chunk=4), given)
    assert_close(found, run(lambda *t: formula(*t, labels), given))


def test_numbers_for_scale_and_bias_and_a_sum():
    x, y, *_ = made()
    found = pairwise_sigmoid_loss(x, y, 3.0, reduction="sum")
    assert torch.allclose(found, formula(x, y, 3.0, 0.0) * len(x))


def test_derivatives_of_both_orders():
    given = [tensor.requires_grad_() for tensor in made(4, bias=-1.0)]
    assert gradcheck(lambda *t: pairwise_sigmoid_loss(*t, chunk=3), given)
    assert gradgradcheck(lambda *t: pairwise_sigmoid_loss(*t, chunk=3), given)


def test_one_bfloat16_rounding_of_the_features_and_float32_sums():
    """Scaled features are rounded, as in the formula; everything behind them is not."""
    given = made(dtype=torch.bfloat16)
    _, y, scale, bias = (tensor.double() for tensor in given)
    exact = formula((given[0] * given[2]).double(), y, torch.ones_like(scale), bias)
    found = pairwise_sigmoid_loss(*given)
    assert found.dtype == torch.bfloat16
    assert abs(found.double() - exact) <= 2.0**-8 * exact


def test_autocast_keeps_float32():
    given = made(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pairwise_sigmoid_loss(*given)
    assert torch.equal(found, pairwise_sigmoid_loss(*given))


def test_tiles_stay_small(monkeypatch):
    monkeypatch.setattr(grid, "BYTES", 40 * 24)
    given = made()
    assert_close(run(pairwise_sigmoid_loss, given), run(formula, given))


WRONG = {
    "rows": (lambda: pairwise_sigmoid_loss(*made(5, 6)), ValueError, "as many rows of x as of y, got 5 and 6"),
    "positives": (lambda: pairwise_sigmoid_loss(*made(), positives="all"), ValueError, "'all'.*'diagonal'"),
    "a matrix": (lambda: pairwise_sigmoid_loss(*made(), positives=torch.eye(23)), ValueError, "positives is Tensor"),
    "a group's name": (lambda: pairwise_sigmoid_loss(*made(), group="WORLD"), TypeError, "got 'WORLD'"),
    "widths": (
        lambda: pairwise_sigmoid_loss(made()[0], made()[1][:, :3], 1.0),
        ValueError,
        r"x is \(B, D\).*\(23, 3\)",
    ),
    "a pair": (
        lambda: pairwise_sigmoid_loss(*made(), positives=(torch.tensor([1]), torch.tensor([23]))),
        ValueError,
        "row 1, column 23",
    ),
    "chunk": (lambda: pairwise_sigmoid_loss(*made(), chunk=0), ValueError, "chunk is 0"),
    "reduction": (lambda: pairwise_sigmoid_loss(*made(), reduction="none"), ValueError, "'mean' or 'sum'"),
    "scale": (lambda: pairwise_sigmoid_loss(*made()[:2], torch.ones(3)), ValueError, r"one number, .*\(3,\)"),
    "a word": (lambda: pairwise_sigmoid_loss(*made()[:2], "10"), TypeError, "logit_scale must be a number"),
    "dist_impl": (lambda: torchbce.SigLipLoss(dist_impl="ring"), ValueError, "'ring'"),
    "chunk_size": (lambda: torchbce.SigLipLoss(chunk_size=-1), ValueError, "chunk_size is -1"),
    "no group": (lambda: torchbce.SigLipLoss(world_size=2)(*made()), RuntimeError, "init_process_group"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name):
    call, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        call()


@pytest.mark.processes
@pytest.mark.parametrize("count", [2, 3])
def test_processes_with_uneven_batches_give_the_loss_and_gradients_of_one(count, tmp_path):
    program = Path(pairwise_ranks.__file__)
    argv = [*TORCHRUN, f"--nproc-per-node={count}", str(program), str(tmp_path / "found")]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr[-6000:]
    alone = pairwise_ranks.results()
    for rank in range(count):
        together = torch.load(tmp_path / f"found-{rank}")
        assert set(together) >= set(alone)
        for name, expected in alone.items():
            assert_close(together[name], expected, rtol=2.0**-10 if "float16" in name else 1e-12)
        assert f"process 1 has a positive in column {4 * count}; columns go from 0 to" in together["outside"]
