"""`fit` in narrow types and compiled, and batches whose loss is not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchbce
from torchbce import InputError, fit
from torchbce.fitting import fit as fit_module
from torchbce.fitting.identity import HASHED, digest
from torchbce.fitting.not_finite import in_batch, in_output

pytestmark = pytest.mark.usefixtures("reference")


def data(rows: int = 101):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=drawn)
    return x, (x[:, :1] + 0.5 * torch.randn(rows, 1, generator=drawn) > 0).float()


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def quiet(*args, **kwargs):
    return fit(*args, on_epoch=None, **{"seed": 2, "epochs": 2, "batch_size": 10, **kwargs})


def test_autocast_is_the_loop_that_one_writes_with_it():
    x, y = data()
    ours, theirs = network(), network()
    seen = []

    class Loss(nn.Module):
        def forward(self, output, target):
            seen.append(output.dtype)
            return nn.functional.mse_loss(output, target)

    quiet(ours, (x, y), Loss(), optimizer=torch.optim.SGD(ours.parameters(), 0.1), autocast=torch.bfloat16, epochs=1)
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for rows in torch.randperm(101).split(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = theirs(x[rows])
        nn.functional.mse_loss(output.float(), y[rows]).backward()
        optimizer.step()
    assert set(seen) == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert ours[0].weight.dtype == torch.float32


def test_float16_goes_with_a_gradient_scaler():
    x, y = data()
    ours, theirs = network(), network()
    quiet(ours, (x, y), optimizer=torch.optim.SGD(ours.parameters(), 0.1), autocast=torch.float16, epochs=1)
    torch.manual_seed(2)
    optimizer, scaler = torch.optim.SGD(theirs.parameters(), 0.1), torch.amp.GradScaler("cpu")
    for rows in torch.randperm(101).split(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            output = theirs(x[rows])
        scaler.scale(torchbce.BCEWithLogitsLoss()(output.float(), y[rows])).backward()
        scaler.step(optimizer)
        scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.slow
def test_compiled_modules_train_alike_and_keep_their_names(tmp_path):
    plain, module = network(), network()
    expected = quiet(plain, data(100), nn.MSELoss())
    found = quiet(module, data(100), nn.MSELoss(), compile=True, valid=data(20), checkpoint=tmp_path / "kept")
    assert list(module.state_dict()) == list(plain.state_dict())
    assert [e.running for e in found] == pytest.approx([e.running for e in expected], rel=1e-5)
    again = quiet(network(), data(100), nn.MSELoss(), compile=True, valid=data(20), checkpoint=tmp_path / "kept")
    assert again.resumed_at == (3, 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"autocast": torch.float32}, "autocast is torch.float32; it is torch.bfloat16 or torch.float16"),
        ({"on_nan": "ignore"}, "on_nan is 'ignore'; it is 'stop' or 'skip'"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1; it is the seconds"),
    ],
)
def test_options_that_make_no_sense_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        quiet(network(), data(), **options)


FORMS = {
    "tensors": lambda x, y: (x, y),
    "dataset": lambda x, y: torch.utils.data.Subset(TensorDataset(x, y), range(len(x))),
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_and_columns_that_are_not_finite_are_named_before_the_step(form, tmp_path):
    x, y = data()
    x[3, 2] = math.nan
    module = network()
    options = {"evaluate_train": False, "checkpoint": tmp_path / "kept"}
    with pytest.raises(InputError) as raised:
        quiet(module, FORMS[form](x, y), **options)
    text = str(raised.value)
    assert "the loss of epoch 1 is nan in batch " in text
    assert "row 4 has input nan in column 3" in text
    assert "on_nan='skip'" in text
    assert f"the checkpoint in {tmp_path / 'kept'} is of the start of epoch 1" in text
    assert all(bool(parameter.isfinite().all()) for parameter in module.parameters())


def test_targets_and_outputs_are_named_too():
    x, y = data(30)
    y[7] = math.nan
    with pytest.raises(InputError, match="row 8 has target nan. Mend"):
        quiet(network(), (x, y), evaluate_train=False)
    assert in_output(torch.tensor([[1.0], [math.inf]]), [20, 30]) == (
        "row 31 has output inf; inputs and targets are finite, so the weights are too large: try a tenth of the "
        "learning rate"
    )
    assert in_batch({"a": x, "b": x / 0}, y[:5], None).startswith("row 1 has input 'b' ")
    assert in_batch((x, x), y[:5], None) == ""
    assert in_batch(x[:5] / 0, y[:5], None).endswith(", and 2 more rows")


def test_batches_that_are_not_finite_are_left_out_of_everything():
    x, y = data(100)
    x[5, 0] = math.nan
    module, other = network(), network()
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    with pytest.warns(
        UserWarning, match="of epoch 1 is left out, as all whose loss or gradient is not finite: row 6 has input nan"
    ):
        history = quiet(module, (x, y), optimizer=optimizer, on_nan="skip", evaluate_train=False)
    assert history.skipped == 2
    assert "2 batches left out" in repr(history)
    torch.manual_seed(2)
    again, loss_func = torch.optim.Adam(other.parameters(), 0.1), torchbce.BCEWithLogitsLoss()
    for epoch in history:
        total = torchbce.EpochBCE()
        for rows in torch.randperm(100).split(10):
            again.zero_grad()
            loss = loss_func(other(x[rows]), y[rows])
            if loss.isfinite():
                loss.backward()
                again.step()
                total.update(loss, y[rows])
        assert epoch.running == total.compute()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:batch 1 of epoch 1 is left out")
def test_nothing_but_such_batches_is_an_error():
    x, y = data(20)
    with pytest.raises(InputError, match="no batch of epoch 1 has a finite loss"):
        quiet(network(), (x * math.nan, y), on_nan="skip")


def test_a_skip_goes_on_from_where_a_stop_was(tmp_path):
    x, y = data(100)
    x[5, 0] = math.nan
    options = {"evaluate_train": False, "checkpoint": tmp_path / "kept", "checkpoint_every": 0.0}
    with pytest.raises(InputError):
        quiet(network(), (x, y), **options)
    with pytest.warns(UserWarning, match="is left out"):
        history = quiet(network(), (x, y), on_nan="skip", **options)
    assert history.resumed_at != (1, 0)
    assert history.skipped == 2


def test_looking_seldom_finds_it_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    """As on a GPU, where each look waits."""
    monkeypatch.setattr(fit_module, "LOOK_INTERVAL", 4)
    monkeypatch.setattr(fit_module, "CHEAP_TO_READ", ())
    x, y = data(100)
    x[5, 0] = math.nan
    with pytest.raises(InputError, match="in batches up to .*row 6 has input nan in column 1"):
        quiet(network(), (x, y), evaluate_train=False, checkpoint=tmp_path / "kept", checkpoint_every=0.0)
    with pytest.warns(UserWarning, match="is left out"):
        history = quiet(network(), (x, y), evaluate_train=False, on_nan="skip", checkpoint=tmp_path / "kept")
    assert all(math.isfinite(epoch.running) for epoch in history)


def infinite():
    """Its loss is finite after tanh, and its gradient is not."""
    x, y = data(100)
    x[5, 0] = math.inf
    return x, y


def test_a_gradient_that_is_not_finite_is_left_out_or_named_later():
    with pytest.warns(UserWarning, match="of epoch 1 is left out.*row 6 has input inf in column 1"):
        history = quiet(network(), infinite(), on_nan="skip", evaluate_train=False)
    assert history.skipped == 2
    assert all(math.isfinite(epoch.running) for epoch in history)
    with pytest.raises(InputError, match="the loss of epoch 1 is nan in batch .*row 6 has input inf in column 1"):
        quiet(network(), infinite(), evaluate_train=False)


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    options = {"evaluate_train": False, "checkpoint": tmp_path / "kept", "checkpoint_every": 0.0}
    with pytest.raises(
        InputError, match="the weights are not finite after batch .*row 6 has input inf.*Kept before it"
    ):
        quiet(network(), infinite(), **options)
    with pytest.warns(UserWarning, match="is left out"):
        assert quiet(network(), infinite(), on_nan="skip", **options).skipped == 2


def test_the_content_of_data_is_known_by_rows_spread_over_all(monkeypatch):
    x = torch.zeros(4 * HASHED // 64, 16)
    before = digest((x,))
    x[len(x) // 2 :] = 1
    assert digest((x,)) != before
    assert digest((x[:5],)) != digest((x[:5].double(),))
