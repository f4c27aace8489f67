"""Click rates, tables, several tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import mlp, rows
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


def _fields(n: int = 96) -> tuple[Tensor, Tensor]:
    """Four fields of six categories each, as rows of one embedding; targets [n]."""
    torch.manual_seed(0)
    x = torch.randint(6, (n, 4))
    score = (x[:, 0] == x[:, 1]).float() + 0.4 * x[:, 2] - 1.2 + 0.3 * torch.randn(n)
    return x + torch.arange(4) * 6, (score > 0.2).float()


class _Machine(nn.Module):
    def __init__(self, deep: bool, wide: bool = True) -> None:
        super().__init__()
        self.linear, self.bias = nn.Embedding(24, 1), nn.Parameter(torch.zeros(1))
        self.embedding, self.wide = nn.Embedding(24, 8), wide
        for table in (self.linear, self.embedding):
            nn.init.xavier_uniform_(table.weight)
        self.mlp = (
            nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
            if deep
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        e = self.embedding(x)
        out = self.linear(x).sum(1) + self.bias
        if self.wide:
            out = out + 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        if self.mlp is not None:
            out = out + self.mlp(e.view(-1, 32))
        return torch.sigmoid(out.squeeze(1))


@healthy(
    "a factorization machine with a deep part, probabilities [N]",
    "https://github.com/flust/DebiasInRec/blob/main/code/9/run_dl_exp/src/model/dfm.py",
)
def deep_factorization_machine() -> Report:
    torch.manual_seed(1)
    model = _Machine(deep=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-6)
    return torchbce.check(model, _fields(), nn.BCELoss(), optimizer)


@healthy(
    "a plain factorization machine, integer targets made float in the loss",
    "https://github.com/ChenYang-1996/pytorch_CTR",
)
def factorization_machine() -> Report:
    torch.manual_seed(2)
    x, y = _fields()
    return torchbce.check(_Machine(deep=False), (x, y.long()), lambda p, t: F.binary_cross_entropy(p, t.float()))


@healthy(
    "clicks and purchases: the product of two probabilities, both losses",
    "https://github.com/poetryool/re/blob/main/autoloss/myloss.py",
)
def clicks_and_purchases() -> Report:
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.click, self.buy = _Machine(deep=True), _Machine(deep=True)

        def forward(self, x):
            click = self.click(x)
            return click, click * self.buy(x)

    torch.manual_seed(3)
    x, y = _fields()
    both = torch.stack([y, y * (torch.rand_like(y) < 0.5)], 1)
    return torchbce.check(
        Two(), (x, both), lambda out, t: sum(F.binary_cross_entropy(p, t[:, i]) for i, p in enumerate(out))
    )


class _Uncertain(nn.Module):
    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(tasks))

    def forward(self, out: Tensor, t: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(out, t, reduction="none").mean(0)
        return (torch.exp(-self.log_vars) * each + self.log_vars).sum()


@healthy(
    "three tasks whose losses are weighted by learned uncertainties",
    "https://github.com/GuanRunwei/ASY-VRNet/blob/main/utils/multitaskloss.py",
)
def learned_task_weights() -> Report:
    x, y = rows()
    torch.manual_seed(4)
    model, loss = mlp(outputs=3), _Uncertain(3)
    t = torch.cat([y, (x[:, :2] > 0).float()], 1)
    return torchbce.check(model, (x, t), loss, torch.optim.Adam([*model.parameters(), *loss.parameters()]))


@healthy(
    "a mixture of experts with a gate per task; the model returns a list",
    "https://github.com/msy0513/GrAB-main/blob/main/TradeFormer/LossLib.py",
)
def experts_with_gates() -> Report:
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.ReLU()) for _ in range(3))
            self.gates = nn.ModuleList(nn.Linear(8, 3) for _ in range(2))
            self.towers = nn.ModuleList(nn.Linear(16, 1) for _ in range(2))

        def forward(self, x):
            seen = torch.stack([e(x) for e in self.experts], 1)
            return [
                tower((gate(x).softmax(1)[:, :, None] * seen).sum(1)).squeeze(-1)
                for gate, tower in zip(self.gates, self.towers, strict=True)
            ]

    x, y = rows()
    torch.manual_seed(5)
    t = torch.cat([y, (x[:, :1] > 0).float()], 1)
    return torchbce.check(Experts(), (x, t), lambda out, t: bce(out[0], t[:, 0]) + bce(out[1], t[:, 1]))


@healthy(
    "drug responses: many labels, most of them 0, smoothed by 0.001, and a cyclic rate",
    "https://github.com/tzoukritzou/kaggle_moa/blob/main/packages/ml_model/ml_model/nn_ops/nn_config.py",
)
def many_rare_labels() -> Report:
    torch.manual_seed(6)
    x = torch.randn(64, 20)
    y = (x @ torch.randn(20, 50) > 9.5).float() * 0.998 + 0.001
    model = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 64), nn.PReLU(), nn.Dropout(0.2), nn.Linear(64, 50))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.001, max_lr=0.01)
    return torchbce.check(model, (x, y), bce, optimizer)


@healthy(
    "a lazy first layer and a lazy batch norm",
    "https://github.com/pfnet/pytorch-pfn-extras/blob/master/docs/lazy.md",
)
def lazy_layers() -> Report:
    torch.manual_seed(7)
    model = nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1))
    return torchbce.check(model, rows(), bce)


@healthy(
    "a compiled network, eager backend, with a step of its own",
    "https://github.com/mc6666/pytorch2/blob/main/compile_test.py",
)
def compiled_with_step() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    torch.manual_seed(8)
    net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Linear(32, 1))
    model = torch.compile(net, backend="eager")
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy(
    "a compiled network of probabilities with several layers, and BCELoss",
    "https://github.com/mc6666/pytorch2/blob/main/compile_test.py",
)
def compiled_probabilities() -> Report:
    torch.manual_seed(9)
    model = torch.compile(nn.Sequential(mlp(), nn.Sigmoid()), backend="eager")
    return torchbce.check(model, rows(), nn.BCELoss())


@healthy(
    "targets are -1 and 1; the loss maps them to 0 and 1",
    "https://github.com/wan-Ying-Z/AMDE-master/blob/main/losses.py",
)
def signs_mapped_in_the_loss() -> Report:
    x, y = rows()
    torch.manual_seed(10)
    return torchbce.check(mlp(), (x, 2 * y - 1), lambda o, t: F.binary_cross_entropy_with_logits(o, (t + 1) / 2))


@healthy(
    "targets are -1 and 1, and the loss is the softplus of minus their product with the output",
    "https://github.com/nd1511/OMASGAN_",
)
def signs_in_softplus() -> Report:
    x, y = rows()
    torch.manual_seed(11)
    return torchbce.check(mlp(), (x, 2 * y - 1), lambda o, t: F.softplus(-t * o).mean())


@healthy(
    "class numbers, made one-hot in the loss, with two logits and BCE",
    "https://github.com/huggingface/pytorch-image-models/blob/main/timm/loss/binary_cross_entropy.py",
)
def one_hot_in_the_loss() -> Report:
    x, y = rows()
    torch.manual_seed(12)
    return torchbce.check(
        mlp(outputs=2),
        (x, y[:, 0].long()),
        lambda o, t: F.binary_cross_entropy_with_logits(o, F.one_hot(t, 2).float() * 0.9 + 0.05),
    )


@healthy(
    "class numbers scattered into smoothed targets of five classes, and a sum over the classes",
    "https://github.com/huggingface/pytorch-image-models/blob/main/timm/loss/binary_cross_entropy.py",
)
def dense_targets_by_scatter() -> Report:
    class Dense(nn.Module):
        def __init__(self, smoothing=0.1):
            super().__init__()
            self.smoothing = smoothing

        def forward(self, o, target):
            off = self.smoothing / o.shape[-1]
            hot = torch.full((len(target), o.shape[-1]), off).scatter_(1, target.view(-1, 1), 1 - self.smoothing + off)
            return F.binary_cross_entropy_with_logits(o, hot, reduction="none").sum(-1).mean()

    x, _ = rows()
    torch.manual_seed(13)
    return torchbce.check(mlp(outputs=5), (x, x[:, :5].argmax(1)), Dense())


@healthy(
    "a column of labels, squeezed in the loss as the output is",
    "https://github.com/deepset-ai/FARM/issues/229",
)
def both_squeezed() -> Report:
    torch.manual_seed(14)
    return torchbce.check(
        mlp(), rows(), lambda o, t: F.binary_cross_entropy_with_logits(o.squeeze(-1), t.view(-1).float())
    )


@healthy(
    "batch norm whose statistics are frozen, kept in eval mode by the model's own train()",
    "https://github.com/isht7/pytorch-deeplab-resnet/issues/39",
)
def batch_norm_frozen() -> Report:
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU())
            self.head = nn.Linear(32, 1)
            self.body[1].requires_grad_(False)

        def train(self, mode=True):
            super().train(mode)
            self.body[1].eval()
            return self

        def forward(self, x):
            return self.head(self.body(x))

    torch.manual_seed(15)
    model = Frozen()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    return torchbce.check(model, rows(), bce, optimizer)


@healthy(
    "batch norm layers are put in eval mode in the training step, all others train",
    "https://github.com/isht7/pytorch-deeplab-resnet/issues/39",
)
def batch_norm_frozen_in_the_step() -> Report:
    def step(model, batch, optimizer):
        model.train()
        for m in model.modules():
            if isinstance(m, nn.BatchNorm1d):
                m.eval()
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    torch.manual_seed(16)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "a zero-initialised linear model",
    "https://github.com/jthickstun/pytorch_musicnet/issues/4",
)
def linear_from_zero() -> Report:
    model = nn.Linear(8, 6, bias=False)
    nn.init.zeros_(model.weight)
    torch.manual_seed(17)
    x = torch.randn(64, 8)
    return torchbce.check(
        model, (x, (x @ torch.randn(8, 6) > 0).float()), bce, torch.optim.SGD(model.parameters(), lr=0.1)
    )
