"""Generators and discriminators, and domain classifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import images, mlp, rows
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


def _weights(m: nn.Module) -> None:
    if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def _judge(last: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False),
        *([last] if last else []),
        nn.Flatten(),
    ).apply(_weights)


def _painter() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(8, 32, 4, 1, 0, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    ).apply(_weights)


@healthy(
    "a discriminator of strided convolutions and LeakyReLU, its weights drawn narrowly, BCELoss",
    "https://github.com/pytorch/examples/blob/main/dcgan/main.py",
)
def dcgan_discriminator() -> Report:
    torch.manual_seed(0)
    model = _judge(nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0002, betas=(0.5, 0.999))
    return torchbce.check(model, images(), nn.BCELoss(), optimizer)


class _Fooling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = _painter(), _judge(nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        return self.discriminator(self.generator(z)).view(-1)


@healthy(
    "a generator behind its discriminator, which has another optimizer; all labels are those of real pictures",
    "https://github.com/alihuss1017/DCGAN/blob/main/train.py",
)
def generator_step() -> Report:
    torch.manual_seed(1)
    model = _Fooling()
    optimizer = torch.optim.Adam(model.generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    batch = torch.randn(32, 8, 1, 1), torch.ones(32)
    return torchbce.check(model, batch, nn.BCELoss(), optimizer)


@healthy(
    "the generator's step on 128 pictures, through a discriminator of logits that is frozen meanwhile",
    "https://github.com/lucaayscough/Gravity/blob/main/Generator/loss.py",
)
def generator_with_frozen_discriminator() -> Report:
    torch.manual_seed(2)
    model = nn.Sequential(_painter(), _judge().requires_grad_(False))
    optimizer = torch.optim.Adam(model[0].parameters(), lr=0.0002, betas=(0.0, 0.99))
    return torchbce.check(
        model, (torch.randn(128, 8, 1, 1), torch.ones(128, 1)), lambda o, t: F.softplus(-o).mean(), optimizer
    )


@healthy(
    "real and made pictures in one step, each with its backward pass, and one step of the optimizer",
    "https://github.com/vltkv/Generate-faces-with-GAN/blob/main/training/training.py",
)
def discriminator_in_two_passes() -> Report:
    torch.manual_seed(3)
    generator, criterion = _painter(), nn.BCELoss()

    def step(model, batch, optimizer):
        model.zero_grad()
        out = model(batch[0]).view(-1)
        (criterion(out, torch.ones_like(out)) / 2).backward()
        made = generator(torch.randn(len(batch[0]), 8, 1, 1))
        out = model(made.detach()).view(-1)
        (criterion(out, torch.zeros_like(out)) / 2).backward()
        optimizer.step()

    x, _ = images()
    model = _judge(nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0002, betas=(0.5, 0.999))
    return torchbce.check(model, (x, torch.ones(32, 1)), criterion, optimizer, step=step)


class _RealAndMade(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.judge = _judge()

    def forward(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        return self.judge(real), self.judge(made)


@healthy(
    "a relativistic average discriminator: each output less the mean of the others",
    "https://github.com/eriklindernoren/PyTorch-GAN/blob/master/implementations/relativistic_gan/relativistic_gan.py",
)
def relativistic_average() -> Report:
    def loss(out, t):
        real, fake = out
        real_loss = bce(real - fake.mean(0, keepdim=True), t)
        fake_loss = bce(fake - real.mean(0, keepdim=True), 1 - t)
        return (real_loss + fake_loss) / 2

    torch.manual_seed(4)
    x, y = images(64)
    shown, hidden = x[y[:, 0] == 1], x[y[:, 0] == 0]
    return torchbce.check(_RealAndMade(), ((shown, hidden), torch.ones(32, 1)), loss)


@healthy(
    "a discriminator's softplus losses with the gradient penalty on real pictures",
    "https://github.com/NVlabs/stylegan2-ada-pytorch/blob/main/training/loss.py",
)
def softplus_with_r1() -> Report:
    def loss(out, t):
        return (t * F.softplus(-out) + (1 - t) * F.softplus(out)).mean()

    def step(model, batch, optimizer):
        x, y = batch
        x = x.detach().requires_grad_(True)
        out = model(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        penalty = slope.square().sum([1, 2, 3]).mean()
        optimizer.zero_grad(set_to_none=True)
        (loss(out, y) + penalty * 0.5).backward()
        optimizer.step()

    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(256, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0025, betas=(0.0, 0.99))
    return torchbce.check(model, images(), loss, optimizer, step=step)


@healthy(
    "labels of 0.95 and 0.05 for real and made",
    "https://github.com/soumith/ganhacks/issues/67",
)
def one_sided_labels() -> Report:
    torch.manual_seed(6)
    x, y = images()
    return torchbce.check(_judge(), (x, 0.05 + 0.9 * y), bce)


@healthy(
    "a generator of pairs: the adversarial loss of made pictures and 100 times their distance to real ones",
    "https://github.com/nathanjpaek/kb-pilot/blob/main/KernelBench/KernelBench/level9/6017_GeneratorLoss.py",
)
def adversarial_and_distance() -> Report:
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
            self.judge = _judge().requires_grad_(False)

        def forward(self, x):
            made = self.net(x)
            return made, self.judge(made)

    def loss(out, real):
        made, said = out
        return bce(said, torch.ones_like(said)) + 100 * F.l1_loss(made, real)

    torch.manual_seed(7)
    x, _ = images()
    model = Translator()
    return torchbce.check(model, (x, x.sigmoid()), loss, torch.optim.Adam(model.net.parameters(), 2e-4))


@healthy(
    "a patch discriminator: 25 logits for each picture, compared with ones or zeros of that shape",
    "https://github.com/ptran1203/pytorch-animeGAN",
)
def patches() -> Report:
    torch.manual_seed(8)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 1, 1), nn.InstanceNorm2d(32),
        nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 3, 1, 0),
    )  # fmt: skip
    x, y = images()
    return torchbce.check(model, (x, y), lambda o, t: bce(o, t.view(-1, 1, 1, 1).expand_as(o)))


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, slope):
        return slope.neg() * ctx.factor, None


class _Domains(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.body, self.factor = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), factor
        self.label = nn.Linear(16, 1)
        self.domain = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 1))
        for m in self.domain:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0.0, 0.02)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x)
        return {"label": self.label(hidden), "domain": torch.sigmoid(self.domain(_Reverse.apply(hidden, self.factor)))}


@healthy(
    "a label's logit and, behind a reversal of gradients, the probability of a domain, in a dict",
    "https://github.com/noushinm/DANN-SVHN-to-MNIST/blob/main/models/domain_classifier.py",
)
def domain_adversarial() -> Report:
    torch.manual_seed(9)
    x, y = rows()
    domain = (torch.arange(64) % 2).float()[:, None]

    def loss(out, t):
        return bce(out["label"], t[:, :1]) + F.binary_cross_entropy(out["domain"], t[:, 1:])

    model = _Domains(0.1)
    return torchbce.check(model, (x, torch.cat([y, domain], 1)), loss, torch.optim.Adam(model.parameters()))


@healthy(
    "a network whose last layer is a LeakyReLU, so that negative logits are only made smaller",
    "https://github.com/torchgan/torchgan/pull/11",
)
def leaky_relu_at_the_end() -> Report:
    torch.manual_seed(10)
    model = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.LeakyReLU(0.2))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters(), lr=0.01))


@healthy(
    "a WGAN-like critic whose step clamps the weights, tried with the logistic loss",
    "https://github.com/unit8co/vegans/blob/master/vegans/models/conditional/ConditionalWassersteinGAN.py",
)
def clamped_weights() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.5, 0.5)

    torch.manual_seed(11)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.RMSprop(model.parameters(), lr=5e-5), step=step)
