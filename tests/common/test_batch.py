"""A batch goes to a module in the same way in `fit` and in `check`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchbce
from torchbce.common.batch import call, unpack


class Apart(nn.Module):
    def forward(self, first, second):
        return first - second


class Together(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, batch):
        return self.layer(torch.cat([batch["a"], batch["b"]], 1))


A, B = torch.tensor([[5.0]]), torch.tensor([[3.0]])


def test_entries_of_a_dict_are_arguments_by_their_names_in_any_order():
    inputs, target = unpack({"second": B, "y": A, "first": A})
    assert target is A
    assert call(Apart(), inputs).item() == 2.0


def test_a_forward_of_one_argument_gets_the_dict_or_its_only_entry():
    module = Together()
    assert torch.equal(call(module, {"a": A, "b": B}), module({"a": A, "b": B}))
    assert torch.equal(call(nn.Linear(1, 1), {"anything": A}), call(nn.Linear(1, 1), A)) is False  # different weights
    layer = nn.Linear(1, 1)
    assert torch.equal(call(layer, {"anything": A}), layer(A))


def test_names_that_do_not_fit_are_an_error_that_names_both():
    with pytest.raises(ValueError, match=r"inputs \['x', 'z'\], and Apart.forward takes \(first, second\)"):
        call(Apart(), {"x": A, "z": B})


def test_a_forward_of_one_argument_gets_a_pair_whole():
    class Pair(nn.Module):
        def forward(self, pair):
            return pair[0] - pair[1]

    assert call(Pair(), (A, B)).item() == 2.0
    assert call(Apart(), (A, B)).item() == 2.0


@pytest.mark.parametrize("keys", [("first", "second"), ("second", "first")])
def test_fit_and_check_pass_a_dict_alike(keys):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)
            self.seen = []

        def forward(self, first, second):
            self.seen.append((first.shape[1], second.shape[1]))
            return self.layer(first) + second.sum(1, keepdim=True)

    tensors = {"first": torch.randn(40, 3), "second": torch.randn(40, 2)}
    batch = {name: tensors[name] for name in keys} | {"label": (torch.arange(40.0) % 2)[:, None]}
    net = Net()
    torchbce.fit(net, [batch], epochs=1, on_epoch=None)
    assert set(net.seen) == {(3, 2)}
    assert torchbce.check(net, batch, torchbce.BCEWithLogitsLoss())["BCE032"].level.value == "pass"


def test_arrays_strings_and_names_of_optimizers_are_refused_with_what_to_write():
    import numpy as np

    net = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"write tensors: torch.as_tensor\(X"):
        torchbce.fit(net, (np.zeros((4, 2)), np.zeros((4, 1))))
    with pytest.raises(TypeError, match=r"optimizer is 'adam', a str; give an optimizer such as"):
        torchbce.fit(net, (torch.zeros(4, 2), torch.zeros(4, 1)), optimizer="adam")
    with pytest.raises(ValueError, match=r"the batch is of type Tensor; it must be \(inputs, target\)"):
        torchbce.check(net, torch.zeros(4, 2), torchbce.BCEWithLogitsLoss())
