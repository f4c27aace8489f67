"""Convolutional networks, pictures and segmentation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import torchbce
from torchbce import Report

from .common import blobs, images, mlp, rows
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


def adam(model: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    """Adam for all parameters."""
    return torch.optim.Adam(model.parameters(), lr=lr)


def small_convnet(channels: int = 1) -> nn.Sequential:
    """Two convolutions with max pooling, and a head."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 1),
    )  # fmt: skip


@healthy("max pooling at the start of a convolutional network")
def max_pooling_first() -> Report:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model.append(nn.Linear(72, 1))
    return torchbce.check(model, images(), bce, adam(model))


@healthy("channels_last memory for model and data")
def channels_last() -> Report:
    x, y = images(channels=3)
    model = small_convnet(3).to(memory_format=torch.channels_last)
    return torchbce.check(model, (x.to(memory_format=torch.channels_last), y), bce, adam(model))


@healthy("pictures are bytes; the model scales them to [-1, 1]")
def bytes_scaled_in_the_model() -> Report:
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_convnet(3)

        def forward(self, x):
            return self.net(x.float() / 127.5 - 1)

    x, y = images(channels=3)
    pictures = (60 * x + 100).clamp(0, 255).to(torch.uint8)
    model = Scales()
    return torchbce.check(model, (pictures, y), bce, adam(model))


@healthy("depthwise and pointwise convolutions with batch norm and ReLU6")
def depthwise_convolutions() -> Report:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip
    return torchbce.check(model, images(channels=3), bce, adam(model))


@healthy("group norm, and dropout of whole channels")
def group_norm() -> Report:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.GroupNorm(4, 8), nn.SiLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(392, 1)
    )
    return torchbce.check(model, images(), bce, adam(model))


@healthy("instance norm with affine parameters, and a global maximum")
def instance_norm() -> Report:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()
    )
    model.extend([nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 1)])
    return torchbce.check(model, images(), bce, adam(model))


class Residual(nn.Module):
    """A block whose last batch norm starts at zero."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.last_norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        nn.init.zeros_(self.last_norm.weight)

    def forward(self, x):
        """The identity at the start."""
        return F.relu(x + self.last_norm(self.second(F.relu(self.norm(self.first(x))))))


@healthy("a ResNet whose residual branches start at zero")
def resnet_zero_init() -> Report:
    model = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2, padding=1), Residual(6), Residual(6))
    model.extend([nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 1)])
    return torchbce.check(model, images(16), bce, adam(model))


class ScaledBlock(nn.Module):
    """A ConvNeXt block: depthwise, layer norm, and a layer scale of 1e-6."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp(width, 2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x):
        """Channels last inside."""
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + (self.scale * y).permute(0, 3, 1, 2)


@healthy("a layer scale of 1e-6 makes gradients tiny, not zero")
def layer_scale() -> Report:
    model = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4), ScaledBlock(8), ScaledBlock(8), nn.Flatten(), nn.Linear(128, 1))
    return torchbce.check(model, images(16), bce, adam(model))


class UNet(nn.Module):
    """One level down and up, with a skip; deep supervision on request."""

    def __init__(self, *, deep: bool = False):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.bottom = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.out = nn.Conv2d(12, 1, 1)
        self.coarse = nn.Conv2d(12, 1, 1) if deep else None

    def forward(self, x):
        """Logits of the input's size, and coarse ones."""
        fine = self.down(x)
        low = self.bottom(F.max_pool2d(fine, 2))
        out = self.out(torch.cat([fine, self.up(low)], 1))
        return out if self.coarse is None else [out, self.coarse(low)]


@healthy("a U-Net; outputs and targets are [N, 1, H, W]")
def unet() -> Report:
    model = UNet()
    return torchbce.check(model, blobs(), bce, adam(model, 1e-2))


@healthy("a U-Net that returns two scales; the loss shrinks the targets for the coarse one")
def unet_deep_supervision() -> Report:
    def loss_func(outputs, y):
        fine, coarse = outputs
        return bce(fine, y) + 0.5 * bce(coarse, F.avg_pool2d(y, 2))

    model = UNet(deep=True)
    return torchbce.check(model, blobs(8), loss_func, adam(model, 1e-2))


@healthy("a fully convolutional discriminator judges patches: [N, 1, 3, 3], all of one picture with one label")
def patch_discriminator() -> Report:
    x, y = images()
    norm = nn.utils.spectral_norm
    model = nn.Sequential(norm(nn.Conv2d(1, 8, 4, stride=2, padding=1)), nn.LeakyReLU(0.2))
    model.extend([norm(nn.Conv2d(8, 16, 4, stride=2, padding=1)), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 2)])
    return torchbce.check(model, (x, y[:, :, None, None].expand(-1, 1, 3, 3)), bce, adam(model, 2e-4))


class PatchTransformer(nn.Module):
    """A small vision transformer with a class token that starts at zero."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.position = nn.Parameter(0.02 * torch.randn(1, 17, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        """The class token's logit."""
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.position
        return self.head(self.block(x)[:, 0])


@healthy("a vision transformer with a class token")
def vision_transformer() -> Report:
    model = PatchTransformer()
    return torchbce.check(model, images(), bce, adam(model))


@healthy("pictures are flipped at random inside the model, in training only")
def augments_in_training() -> Report:
    class Augments(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_convnet()

        def forward(self, x):
            if self.training:
                flip = torch.rand(len(x), 1, 1, 1) < 0.5
                x = torch.where(flip, x.flip(3), x) + 0.1 * torch.randn_like(x)
            return self.net(x)

    model = Augments()
    return torchbce.check(model, images(), bce, adam(model))


class FixedEdges(nn.Module):
    """Edge filters that are buffers, a spatial transformer that starts as the identity, and a head."""

    def __init__(self):
        super().__init__()
        edge = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.register_buffer("filters", torch.stack([edge, edge.T])[:, None])
        self.locate = nn.Linear(256, 6)
        nn.init.zeros_(self.locate.weight)
        self.locate.bias.data.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        """Look at the moved picture's edges."""
        grid = F.affine_grid(self.locate(x.flatten(1)).view(-1, 2, 3), list(x.shape), align_corners=False)
        edges = F.conv2d(F.grid_sample(x, grid, align_corners=False), self.filters).abs()
        return self.head(F.adaptive_avg_pool2d(edges, 4).flatten(1))


@healthy("a spatial transformer that starts as the identity, and filters that are buffers")
def spatial_transformer() -> Report:
    model = FixedEdges()
    return torchbce.check(model, images(16), bce, adam(model))


class Checkpointed(nn.Module):
    """Blocks whose activations are computed again in the backward pass."""

    def __init__(self, *, reentrant: bool):
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.1)) for _ in range(2))
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        """Only the blocks are checkpointed."""
        x = torch.relu(self.first(x))
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


@healthy("activation checkpointing, reentrant")
def checkpoint_reentrant() -> Report:
    model = Checkpointed(reentrant=True)
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("activation checkpointing, not reentrant")
def checkpoint_not_reentrant() -> Report:
    model = Checkpointed(reentrant=False)
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("the model is compiled, with the eager backend")
def compiled_eager() -> Report:
    model = mlp()
    return torchbce.check(torch.compile(model, backend="eager"), rows(), bce, adam(model))


@healthy("the model is a TorchScript function's module")
def scripted() -> Report:
    batch = rows()
    model = torch.jit.trace(mlp(), batch[0])
    return torchbce.check(model, batch, bce, adam(model))


@healthy("a wrapper keeps the network as `module`, as a distributed wrapper does")
def wrapped_network() -> Report:
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, *args, **kwargs):
            return self.module(*args, **kwargs)

    net = small_convnet()
    return torchbce.check(Wrapper(net), images(), bce, adam(net))


@healthy("autocast to bfloat16 inside forward; logits come back as float32")
def autocast_inside_forward() -> Report:
    class Autocast(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_convnet()

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                z = self.net(x)
            return z.float()

    model = Autocast()
    return torchbce.check(model, images(), bce, adam(model))
