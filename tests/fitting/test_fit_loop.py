"""fit: the user's own module and data, in every form, and losses that are true means over items."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import torchbce
from torchbce import InputError, fit
from torchbce.common.batch import unpack
from torchbce.fitting.batches import DatasetBatches, LoaderBatches, TensorBatches, batches_of


class DictDataset(Dataset):
    """The article's items: dicts of predictors and target."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"predictors": self.x[i], "target": self.y[i]}


class BatchedDataset(DictDataset):
    """The same, fetched a batch at a time."""

    def __getitem__(self, i):
        raise AssertionError("an item was fetched alone")

    def __getitems__(self, indices):
        return {"predictors": self.x[indices], "target": self.y[indices]}


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        return zip(self.x, self.y, strict=True)


def data(n: int = 101) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(n, 4)
    return x, (x[:, :1] + 0.5 * torch.randn(n, 1) > 0).float()


def network(sigmoid: bool = False) -> torch.nn.Module:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1)]
    return torch.nn.Sequential(*layers, *([torch.nn.Sigmoid()] if sigmoid else []))


def quiet(*args, **kwargs):
    return fit(*args, on_epoch=None, **kwargs)


SOURCES = {
    "tensors": lambda x, y: (x, y),
    "TensorDataset": TensorDataset,
    "dict dataset": DictDataset,
    "dataset with __getitems__": BatchedDataset,
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True),
    "loader of dicts": lambda x, y: DataLoader(DictDataset(x, y), batch_size=100, shuffle=True),
    "loader that drops the last": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=100, drop_last=True),
    "loader with a batch sampler": lambda x, y: DataLoader(
        TensorDataset(x, y), batch_sampler=torch.utils.data.BatchSampler(range(len(x)), 100, False)
    ),
    "loader of a stream": lambda x, y: DataLoader(Stream(x, y), batch_size=100),
    "list of batches": lambda x, y: [(x[:100], y[:100]), (x[100:], y[100:])],
    "list of dicts": lambda x, y: [{"x": x[:100], "label": y[:100]}, {"x": x[100:], "label": y[100:]}],
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_form_of_data_gives_the_true_mean_over_items(source):
    x, y = data()
    net = network()
    made = SOURCES[source](x, y)
    history = quiet(net, made, valid=made, epochs=3, batch_size=100, seed=3, evaluate_train=True)
    best = history.best
    net.eval()
    exact = torch.nn.functional.binary_cross_entropy_with_logits(net(x).double(), y.double()).item()
    assert best.train == pytest.approx(exact, abs=1e-6)
    assert best.valid == pytest.approx(exact, abs=1e-6)
    assert len(history) == 3


def test_the_running_loss_is_weighted_by_items_and_lags():
    x, y = data()
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)  # weights stand still: running is the loss itself
    net[2].p = 0.0
    epoch = quiet(net, (x, y), optimizer=optimizer, epochs=1, batch_size=100)[0]
    assert epoch.running == pytest.approx(epoch.train, rel=1e-6)
    moving = quiet(network(), (x, y), optimizer=None, epochs=3, batch_size=10, seed=0)
    assert all(e.running > e.train for e in moving)


def test_it_takes_the_steps_of_the_articles_loop():
    x, y = data()
    ours, theirs = network(sigmoid=True), network(sigmoid=True)
    for net in (ours, theirs):
        net[2].p = 0.0
    loader = DataLoader(DictDataset(x, y), batch_size=10, shuffle=True)
    torch.manual_seed(5)
    sgd = torch.optim.SGD(ours.parameters(), lr=0.1)
    quiet(ours, loader, torchbce.BCELoss(), optimizer=sgd, epochs=2)
    torch.manual_seed(5)
    loss_func = torch.nn.BCELoss()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(2):
        for batch in loader:
            optimizer.zero_grad()
            loss_func(theirs(batch["predictors"]), batch["target"]).backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_every_reduction_are_reported_as_means(reduction):
    x, y = data()
    net = network()
    loss_func = torchbce.BCEWithLogitsLoss(reduction=reduction)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    epoch = quiet(net, (x, y), loss_func, optimizer=optimizer, epochs=1, batch_size=30)[0]
    exact = torch.nn.functional.binary_cross_entropy_with_logits(net.eval()(x), y).item()
    assert epoch.train == pytest.approx(exact, abs=1e-6)
    assert epoch.running == pytest.approx(exact, rel=0.1)


def test_the_best_epochs_weights_are_kept_and_patience_stops():
    x, y = data(40)
    valid = (torch.randn(40, 4), torch.randint(2, (40, 1)).float())  # noise: soon overfitted
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    history = quiet(net, (x, y), valid=valid, optimizer=optimizer, epochs=100, patience=3, seed=0)
    assert len(history) < 100
    assert len(history) == history.best.number + 3
    assert history.best.valid == min(e.valid for e in history)
    loss = torchbce.functional.binary_cross_entropy_with_logits(net.eval()(valid[0]), valid[1])
    assert loss.item() == pytest.approx(history.best.valid, abs=1e-6)


def test_a_seed_repeats_the_run_and_leaves_the_callers_random_numbers_alone():
    x, y = data()
    runs = []
    torch.manual_seed(9)
    before = torch.get_rng_state()
    for _ in range(2):
        net = copy.deepcopy(network_once)
        runs.append(quiet(net, (x, y), epochs=2, seed=4)[-1])
    assert runs[0].train == runs[1].train
    assert runs[0].running == runs[1].running
    assert torch.equal(torch.get_rng_state(), before)


network_once = network()


def test_evaluation_draws_no_random_numbers():
    loader = DataLoader(TensorDataset(*data()), batch_size=10, shuffle=True)
    before = torch.get_rng_state()
    list(LoaderBatches(loader, unpack).in_order())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_baseline_is_the_training_share_on_the_validation_data():
    x, y = data()
    valid = (x[:10], torch.ones(10, 1))
    epoch = quiet(network(), (x, y), valid=valid, epochs=1)[0]
    assert epoch.baseline == pytest.approx(-math.log(y.mean().item()), rel=1e-6)
    assert "below baseline" in str(epoch) or "above baseline" in str(epoch)


def test_modes_and_multiple_inputs():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 1)

        def forward(self, a, b):
            return self.layer(torch.cat([a, b], 1))

    x, y = data()
    net = Two().eval()
    assert len(quiet(net, (x, x, y), epochs=2)) == 2
    batches = [{"a": x, "b": x, "wanted": y}]
    history = quiet(net, batches, epochs=1, unpack=lambda batch: ((batch["a"], batch["b"]), batch["wanted"]))
    assert history.best.running > 0


def test_it_prints_each_epoch_unless_told_otherwise(capsys):
    x, y = data()
    history = fit(network(), (x, y), epochs=2, seed=0)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(epoch) for epoch in history]
    assert printed[0].startswith("epoch   1  running 0.")
    quiet(network(), (x, y), epochs=1)
    assert capsys.readouterr().out == ""


def test_steps_are_counted():
    seen = []
    quiet(network(), data(), epochs=1, batch_size=50, on_step=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_loss_that_is_not_finite_stops_the_run_with_its_epoch():
    x, y = data()
    x[3, 2] = math.inf
    with pytest.raises(InputError, match="the loss of epoch 1 is nan"):
        quiet(network(), (x, y), epochs=2)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0; it must be at least 1"),
        ({"batch_size": -1}, ValueError, "batch_size is -1"),
        ({"patience": 3}, ValueError, "patience needs valid= data"),
    ],
)
def test_options_that_make_no_sense_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        quiet(network(), data(), **kwargs)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda x, y: x, TypeError, "data is Tensor; give"),
        (lambda x, y: iter([(x, y)]), TypeError, "can be iterated anew"),
        (lambda x, y: (x, y[:5]), ValueError, r"one length above 0; got \(101, 4\), \(5, 1\)"),
        (lambda x, y: (x[:0], y[:0]), ValueError, "one length above 0"),
        (lambda x, y: [{"x": x, "wanted": y}], ValueError, r"keys \['x', 'wanted'\]; exactly one"),
        (lambda x, y: [3], ValueError, "the batch is of type int; it must be"),
        (lambda x, y: [], ValueError, "gave no batches"),
        (lambda x, y: (x, y.squeeze()), ValueError, "must be the same as input size"),
    ],
)
def test_data_that_cannot_be_used_are_named(made, error, message):
    with pytest.raises(error, match=message):
        quiet(network(), made(*data()), epochs=1)


def test_a_loader_of_tensors_gives_its_own_batches_without_collating():
    x, y = data()
    for generator in (None, torch.Generator().manual_seed(3)):
        loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True, generator=generator)
        sliced, whole = LoaderBatches(loader, unpack), []
        assert sliced.in_memory
        for _ in range(2):
            torch.manual_seed(7)
            if generator:
                generator.manual_seed(7)
            batches = list(loader) if whole else [(i[0], t) for i, t in sliced.shuffled()]
            whole.append((batches, torch.rand(1)))
        assert all(
            torch.equal(a, b)
            for one, two in zip(whole[0][0], whole[1][0], strict=True)
            for a, b in zip(one, two, strict=True)
        )
        assert whole[0][1] == whole[1][1]


def test_loaders_that_do_more_are_left_alone():
    dataset = TensorDataset(*data())
    for options in ({"collate_fn": lambda items: items[0]}, {"batch_size": None}, {"num_workers": 1}):
        assert not LoaderBatches(DataLoader(dataset, **options), unpack).in_memory
    assert not LoaderBatches(DataLoader(DictDataset(*data())), unpack).in_memory


def test_data_that_must_be_loaded_anew_are_not_evaluated_unasked():
    x, y = data()
    loader = DataLoader(DictDataset(x, y), batch_size=10)
    epoch = quiet(network(), loader, epochs=1)[0]
    assert epoch.train is None
    assert "train" not in str(epoch)
    assert epoch.judged == epoch.running
    assert epoch.baseline == pytest.approx(
        torchbce.explanation.statistics.entropy.cross_entropy(y.mean().item(), y.mean().item())
    )


def test_sources_are_recognised():
    x, y = data()
    assert isinstance(batches_of(TensorDataset(x, y), 10, None), TensorBatches)
    assert isinstance(batches_of(DictDataset(x, y), 10, None), DatasetBatches)
    assert len(batches_of((x, y), 10, None)) == len(batches_of(DictDataset(x, y), 10, None)) == 11


def test_shuffled_tensors_visit_every_row_once_in_another_order():
    x = torch.arange(1000.0)
    seen = torch.cat([inputs[0] for inputs, _ in TensorBatches((x, x), 64).shuffled()])
    assert not torch.equal(seen, x)
    assert torch.equal(seen.sort().values, x)
