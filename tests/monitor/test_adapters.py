"""The meter in torchmetrics, Lightning, TensorBoard and several processes: the mean over items, each time."""

from __future__ import annotations

import math
import textwrap

import pytest
import torch
from sklearn.metrics import log_loss

import forked
import torchbce
from torchbce.monitor.torchmetrics import BinaryCrossEntropy


def data(n=1025):
    torch.manual_seed(0)
    x = torch.randn(n, 4)
    return x, (torch.rand(n, 1) < torch.sigmoid(x[:, :1])).float()


def test_the_metric_is_exact_over_ragged_batches_and_merges():
    z, y = data()
    z = z[:, :1]
    expected = log_loss(y.flatten(), torch.sigmoid(z.double()).flatten())
    metric, part = (BinaryCrossEntropy(from_logits=True) for _ in range(2))
    for z_batch, y_batch in zip(z[:1000].split(256), y[:1000].split(256), strict=True):
        metric.update(z_batch, y_batch)
    part(z[1000:], y[1000:])
    metric.merge_state(part)
    assert metric.compute().item() == pytest.approx(expected, rel=1e-12)
    normalized = BinaryCrossEntropy(from_logits=True, normalized=True)
    normalized.update(z, y)
    assert normalized.compute().item() == pytest.approx(
        torchbce.explain(z, y, from_logits=True).normalized_entropy, rel=1e-9
    )
    normalized.reset()
    normalized.update(z[:3], torch.ones(3, 1))
    assert math.isnan(normalized.compute())


def test_the_metric_leaves_out_what_is_ignored_and_refuses_what_is_no_target():
    z, y = data()
    z, holes = z[:, :1], torch.arange(1025)[:, None] % 3 == 0
    metric, kept = (BinaryCrossEntropy(from_logits=True, normalized=True, ignore_index=-1) for _ in range(2))
    for z_batch, y_batch in zip(z.split(256), y.masked_fill(holes, -1).split(256), strict=True):
        metric.update(z_batch, y_batch)
    kept.update(z[~holes], y[~holes].long())
    assert metric.compute().item() == pytest.approx(kept.compute().item(), rel=1e-12)
    with pytest.raises(RuntimeError, match="target"):
        BinaryCrossEntropy(from_logits=True).update(z, y.masked_fill(holes, -100))


def test_counts_do_not_stop_at_the_end_of_float32(monkeypatch):
    metric = BinaryCrossEntropy(from_logits=False).half().float()
    metric.count += 2**24
    metric.update(torch.tensor([0.5]), torch.tensor([1]))
    assert metric.count == 2**24 + 1
    assert metric.total.dtype == torch.float64


def test_lightning_logs_the_true_mean(tmp_path):
    import lightning.pytorch as pl

    from torchbce.monitor.lightning import EpochBCECallback

    x, y = data()
    loss_func = torchbce.BCEWithLogitsLoss()

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch, _):
            return loss_func(self.net(batch[0]), batch[1])

        def validation_step(self, batch, _):
            return {"loss": loss_func(self.net(batch[0]), batch[1])}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=256)
    callback = EpochBCECallback()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=[callback], default_root_dir=tmp_path, **quiet)
    module = Module()
    trainer.fit(module, loader, loader)
    with torch.no_grad():
        expected = loss_func(module.net(x), y).item()
    assert trainer.callback_metrics["valid_bce"].item() == pytest.approx(expected, rel=1e-5)
    assert 0 < trainer.callback_metrics["valid_bce_of_baseline"] < 2
    assert callback.train.count == callback.valid.count == 1025
    callback.on_train_batch_end(trainer, module, None, (x, y), 0)  # a step that was skipped
    assert callback.train.count == 1025
    with pytest.raises(ValueError, match="the step returned no loss"):
        callback.on_train_batch_end(trainer, module, {"other": 1}, (x, y), 0)


def test_the_callback_takes_what_counts_from_the_loss():
    from torchbce.monitor.lightning import EpochBCECallback

    logits, y = torch.zeros(4), torch.tensor([1.0, 0.0, -1.0, -1.0])
    loss = torchbce.BCEWithLogitsLoss(ignore_index=-1, reduction="sum", pos_weight=2.0)
    callback = EpochBCECallback(loss_func=loss, mask=lambda batch: batch[2])
    for mask in (torch.tensor([True, False, True, True]), torch.ones(4, dtype=torch.bool)):
        callback.on_validation_batch_end(None, None, {"loss": loss(logits, y, mask)}, (logits, y, mask), 0)
    assert (callback.valid.count, callback.valid.share) == (3, pytest.approx(2 / 3))
    assert callback.valid.compute() == pytest.approx(5 / 3 * math.log(2))
    assert math.isnan(callback.valid.baseline)


def test_lightning_losses_are_whole_while_gradients_accumulate(tmp_path):
    import lightning.pytorch as pl

    from torchbce.monitor.lightning import EpochBCECallback

    x, y = data()

    class Frozen(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch, _):
            return torchbce.BCEWithLogitsLoss()(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=256)
    callback, module = EpochBCECallback(), Frozen()
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", accumulate_grad_batches=4, callbacks=[callback], **off)
    trainer.fit(module, loader)
    with torch.no_grad():
        expected = torchbce.BCEWithLogitsLoss()(module.net(x), y).item()
    assert callback.train.compute() == pytest.approx(expected, rel=1e-5)


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from torchbce.monitor.tensorboard import write_explanation, write_meter

    x, y = data()
    meter = torchbce.EpochBCE()
    meter.update(torch.tensor(0.5), y)
    with SummaryWriter(tmp_path) as writer:
        write_meter(writer, meter, 1)
        write_explanation(writer, torchbce.explain(x[:, :1], y, from_logits=True), 2, name="valid")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("bce/nats")[0].value == 0.5
    assert {"bce/of_baseline", "valid/nats", "valid/miscalibration"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"valid/reliability", "valid/losses"}


def test_meters_of_several_processes_are_one():
    script = """
        import torch, torchbce
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        meter = torchbce.EpochBCE()
        meter.update(torch.tensor([0.5, 3.0][rank]), torch.zeros([100, 1][rank]))  # uneven parts
        whole = meter.gathered()
        print(f"{whole.compute():.6f} {whole.count}")
        torch.distributed.destroy_process_group()
    """
    runs = forked.ranks(2, textwrap.dedent(script))
    assert [run.stdout for run in runs] == ["0.524752 101\n"] * 2, runs
    assert torchbce.EpochBCE().gathered().count == 0
