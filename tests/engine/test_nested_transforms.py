"""The transforms of torch.func, one within another in every order, and within torch.compile: as torch."""

from __future__ import annotations

import itertools
import random
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import torchbce
from torchbce import functional

LOSSES = {
    "probabilities": (functional.binary_cross_entropy, F.binary_cross_entropy),
    "logits": (functional.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
}
TRANSFORMS = {  # of a function of two tensors, to another
    "vmap": vmap,
    "vmap of the target": lambda f: lambda x, y: vmap(f, (None, 0))(x[0], y),
    "vmap of the input": lambda f: lambda x, y: vmap(f, (1, None))(x, y[:, 0]),
    "grad": lambda f: grad(lambda x, y: f(x, y).sum()),
    "grad by the target": lambda f: grad(lambda x, y: f(x, y).sum(), 1),
    "jvp": lambda f: lambda x, y: jvp(f, (x, y), (x.cos(), y.sin()))[1],
    "vjp": lambda f: lambda x, y: sum(vjp(f, x, y)[1](f(x, y).cos())),
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": hessian,
    "functionalize": functionalize,
}
FORWARD = {"jacfwd", "hessian"}  # torch's loss of logits cannot be differentiated forward by a basis, twice
PAIRS = [pair for pair in itertools.product(TRANSFORMS, TRANSFORMS) if pair != ("functionalize",) * 2]  # torch cannot


def composed(x: Tensor, y: Tensor, weight: Tensor | None, reduction: str, pos_weight: Tensor | None) -> Tensor:
    """The loss of logits in operations that torch differentiates itself."""
    positive = y if pos_weight is None else pos_weight * y
    items = positive * F.softplus(-x) + (1 - y) * F.softplus(x)
    items = items if weight is None else items * weight
    return {"none": items, "mean": items.mean(), "sum": items.sum()}[reduction]


def drawn(name: str, *case: str):
    """Tensors and options of a call, by chance, the same for each case at any time."""
    chance = random.Random("|".join((name, *case)))
    dtype = chance.choice([torch.float32, torch.float64])
    torch.manual_seed(chance.randrange(100))
    shape = chance.choice([(3, 3), (3, 3, 2)])
    x, y = (torch.rand(shape, dtype=dtype) * 0.8 + 0.1 for _ in range(2))
    if name == "logits":  # one of exactly 0 among them, where two branches of the formula meet
        x = x - x.flatten()[0]
    weights = [torch.rand(chance.choice([(), (1,)]), dtype=dtype) + 0.5 for _ in range(2)]
    given = [chance.choice([None, weight]) for weight in weights]
    return x, y, {"weight": given[0], "reduction": chance.choice(["none", "mean", "sum"])}, given[1]


def functions(name: str, pair: tuple[str, str], options: dict, pos_weight: Tensor | None):
    """Ours and what it is compared with."""
    ours, theirs = LOSSES[name]
    if name == "logits":
        options = {**options, "pos_weight": pos_weight}
        if pair[1] in FORWARD and pair[0] in FORWARD:
            theirs = composed
    return [lambda x, y, f=f: f(x, y, **options) for f in (ours, theirs)]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("pair", PAIRS, ids=" of ".join)
def test_two_transforms(name, pair):
    x, y, options, pos_weight = drawn(name, *pair)
    outer, inner = (TRANSFORMS[transform] for transform in pair)
    while x.ndim > 2 and {*pair} & FORWARD:  # a derivative by each of them is enough
        x, y = x[..., 0], y[..., 0]
    if all(transform.startswith("vmap") for transform in pair):
        x, y = (torch.stack([v, v / 2, v / 3]) for v in (x, y))
    ours, theirs = functions(name, pair, options, pos_weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")  # of torch's own, under functionalize
        expected = outer(inner(theirs))(x, y)
    torch.testing.assert_close(outer(inner(ours))(x, y), expected)


COMPILED = {  # all of them is a minute
    "vmap": vmap,
    "grad of vmap": lambda f: grad(lambda x, y: vmap(f)(x, y).sum()),
    "vmap of grad": lambda f: vmap(grad(f)),
    "vmap of jvp": lambda f: vmap(TRANSFORMS["jvp"](f)),
    "vmap of jacrev": lambda f: vmap(jacrev(f), (0, None)),
    "hessian": hessian,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", COMPILED)
def test_compiled(name, case):
    ours, theirs = LOSSES[name]
    x, y = torch.rand(2, 3), torch.rand(3) if case == "vmap of jacrev" else torch.rand(2, 3)
    torch.compiler.reset()
    compiled = torch.compile(COMPILED[case](lambda a, b: ours(a, b)), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y), COMPILED[case](theirs)(x, y))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_compiled_and_then_backward(name):
    ours, theirs = LOSSES[name]
    x, y = torch.rand(2, 3), torch.rand(2, 3)
    weight = torch.rand(2, 3)
    torch.compiler.reset()
    run = torch.compile(vmap(lambda a, b, w: ours(a, b, w, reduction="none")), backend="aot_eager", fullgraph=True)
    expected = vmap(lambda a, b, w: theirs(a, b, w, reduction="none"))
    slopes = []
    for function in (run, expected):
        leaf = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(function(leaf, y, weight).square().sum(), leaf)[0])
    torch.testing.assert_close(*slopes)


def test_compiled_with_tensors_and_numbers_as_parameters():
    x, y, weights = torch.randn(2, 3), torch.rand(2, 3), torch.tensor([[0.5], [3.0]])
    torch.compiler.reset()

    def mapped(x, y, weights):
        per_label = vmap(grad(lambda a, b, w: functional.binary_cross_entropy_with_logits(a, b, pos_weight=w)))
        return per_label(x, y, weights), vmap(grad(lambda a, b: torchbce.focal_loss_with_logits(a, b, gamma=1.7)))(x, y)

    compiled = torch.compile(mapped, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y, weights), mapped(x, y, weights))
