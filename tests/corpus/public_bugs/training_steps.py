"""What a training step does, and what surrounds the loss; threads read on 2026-11-30, beside the checks for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import torchbce
from torchbce.checks.report import Report

from .data import perceptron, pictures, segmenter, table, tags
from .registry import bug, mended

AFTER_STEP = "https://github.com/VGraphRNN/VGRNN/issues/4"
BEFORE_BACKWARD = "https://github.com/simchowitzlabpublic/nano-world-model/pull/22"
SCALED = "https://github.com/milesial/Pytorch-UNet/issues/468"
BOTH_STEPS = "https://github.com/IAHispano/Applio/pull/860"
MICRO = "https://github.com/tatsu-lab/alpaca_farm/issues/57"
LEFT = "https://github.com/shubhamagarwal92/mmd/issues/14"
EVAL = "https://github.com/ServiceNow/LCFCN/issues/20"
SQUASHED = "https://github.com/yudi-mars/daisyRec/pull/15"
NOISY = "https://github.com/OsciiArt/Freesound-Audio-Tagging-2019/issues/1"
NUMPY = "https://github.com/isayev/ReLeaSE/issues/39"
REQUIRES = "https://github.com/ronghuaiyang/arcface-pytorch/issues/56"
APART = "https://github.com/mlcommons/GaNDLF/pull/870"
ONLY_X = "https://github.com/DrexelChatbotGroup/DrexelChatbot/issues/15"
TWICE = "https://github.com/facebookresearch/InterHand2.6M/issues/110"
SAME = "https://github.com/NVIDIA-Genomics-Research/AtacWorks/issues/207"
RATE = "https://github.com/guillaumegenthial/sequence_tagging/issues/47"

LOSS = nn.BCEWithLogitsLoss()
Batch = tuple[Tensor, Tensor]
Step = Callable[[nn.Module, Batch, torch.optim.Optimizer], None]


def _table(step: Step, *, seed: int, rate: float = 0.003) -> Report:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 24), nn.LayerNorm(24), nn.GELU(), nn.Dropout(0.1), nn.Linear(24, 1))
    return torchbce.check(model, table(64), LOSS, torch.optim.AdamW(model.parameters(), lr=rate), step=step)


def _clipping(place: str) -> Step:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        def clip(here: str) -> None:
            if place == here:
                nn.utils.clip_grad_norm_(model.parameters(), 10)

        optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        clip("before")
        loss.backward()
        clip("between")
        optimizer.step()
        clip("after")

    return step


@bug(AFTER_STEP, "clip_grad_norm() is called after opt.step(), so it does nothing.", ("BCE037",))
def clipped_after_opt_step() -> Report:
    return _table(_clipping("after"), seed=1)


@mended(AFTER_STEP, "It is called before the optimizer updates the model.")
def clipped_after_opt_step_mended() -> Report:
    return _table(_clipping("between"), seed=1)


@bug(BEFORE_BACKWARD, "The gradients are clipped in training_step, before backward() runs.", ("BCE037",))
def clipped_in_training_step() -> Report:
    return _table(_clipping("before"), seed=2)


@mended(BEFORE_BACKWARD, "They are clipped after backward().")
def clipped_in_training_step_mended() -> Report:
    return _table(_clipping("between"), seed=2)


def _scaled(*, unscaled: bool = True, both: bool = False) -> Report:
    torch.manual_seed(3)
    model = segmenter()
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        loss = LOSS(model(batch[0]), batch[1].repeat(1, 1, 12, 12))
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        if both:
            optimizer.step()
            return
        if unscaled:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999)
    loss_func = lambda out, y: LOSS(out, y.repeat(1, 1, 12, 12))  # noqa: E731
    x, y = pictures(16)
    return torchbce.check(model, (x, y[:, :, None, None]), loss_func, optimizer, step=step)


@bug(SCALED, "The gradients are clipped before they are unscaled.", ("BCE037",))
def clipped_before_unscaling() -> Report:
    return _scaled(unscaled=False)


@mended(SCALED, "scaler.unscale_(optimizer) comes before the clipping.")
def clipped_before_unscaling_mended() -> Report:
    return _scaled()


@bug(BOTH_STEPS, "optimizer.step() is called where the loss is scaled.", ("BCE037",))
def optimizer_steps_beside_the_scaler() -> Report:
    return _scaled(both=True)


def _micro(right: bool) -> Step:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        for x, y in zip(batch[0].split(16), batch[1].split(16), strict=True):
            if not right:
                model.zero_grad(set_to_none=True)
            (LOSS(model(x), y) * len(x) / len(batch[0])).backward()
        optimizer.step()

    return step


@bug(MICRO, "policy.zero_grad() for each part throws away all gradients but the last.", ("BCE037", "BCE018"))
def policy_cleared_for_each_part() -> Report:
    return _table(_micro(right=False), seed=4)


@mended(MICRO, "The optimizer's gradients are cleared once for the whole batch.")
def policy_cleared_for_each_part_mended() -> Report:
    return _table(_micro(right=True), seed=4)


def _evaluated(where: str) -> Step:
    def evaluate(model: nn.Module, batch: Batch) -> float:
        model.eval()
        with torch.no_grad():
            return LOSS(model(batch[0]), batch[1]).item()

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        if where == "before":
            model.train()
            evaluate(model, batch)
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()
        if where != "before":
            evaluate(model, batch)
        if where == "mended":
            model.train()

    return step


@bug(LEFT, "evaluate() calls model.eval(), and nothing calls model.train() after it.", ("BCE038",))
def evaluation_is_not_left() -> Report:
    return _table(_evaluated("after"), seed=5)


@mended(LEFT, "model.train() stands after the evaluation.")
def evaluation_is_not_left_mended() -> Report:
    return _table(_evaluated("mended"), seed=5)


@bug(EVAL, "A helper that is called after model.train() switches to eval().", ("BCE038",))
def helper_switches_to_evaluation() -> Report:
    return _table(_evaluated("before"), seed=6)


def _with(loss: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Step:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss(model, *batch).backward()
        optimizer.step()

    return step


@bug(SQUASHED, "A sigmoid before BCEWithLogitsLoss in the training loop: it does not converge.", ("BCE036", "BCE004"))
def recommender_squashed_in_the_loop() -> Report:
    return _table(_with(lambda m, x, y: LOSS(torch.sigmoid(m(x)), y)), seed=7)


@mended(SQUASHED, "There is no sigmoid.")
def recommender_squashed_in_the_loop_mended() -> Report:
    return _table(_with(lambda m, x, y: LOSS(m(x), y)), seed=7)


@bug(NOISY, "The criterion of tags is BCE with logits, and the outputs are squashed for it.", ("BCE036", "BCE004"))
def tags_squashed_in_the_loop() -> Report:
    torch.manual_seed(8)
    model = perceptron(10, 6)
    step = _with(lambda m, x, y: LOSS(m(x).sigmoid(), y))
    return torchbce.check(model, tags(), LOSS, torch.optim.Adam(model.parameters()), step=step)


@bug(NUMPY, "The loss goes through detach().numpy(), so all gradients are None.", ("BCE036", "BCE018"))
def loss_through_numpy() -> Report:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(LOSS(m(x), y).detach().numpy()).requires_grad_()

    return _table(_with(loss), seed=9)


@bug(REQUIRES, "loss.requires_grad = True makes the error go away, and nothing learns.", ("BCE036", "BCE018"))
def loss_is_told_to_require_grad() -> Report:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        found = LOSS(m(x).data, y)
        found.requires_grad = True
        return found

    return _table(_with(loss), seed=10)


@mended(REQUIRES, "The outputs are used, and not their data.")
def loss_is_told_to_require_grad_mended() -> Report:
    return _table(_with(lambda m, x, y: LOSS(m(x), y)), seed=10)


@bug(APART, "Data and labels are shuffled separately.", ("BCE036",))
def labels_shuffled_apart() -> Report:
    return _table(_with(lambda m, x, y: LOSS(m(x[torch.randperm(len(x))]), y[torch.randperm(len(y))])), seed=11)


@bug(ONLY_X, "The order of x is randomized and that of y is not.", ("BCE036",))
def only_inputs_shuffled() -> Report:
    return _table(_with(lambda m, x, y: LOSS(m(x[torch.randperm(len(x))]), y)), seed=12)


@mended(ONLY_X, "Both are randomized by one order.")
def only_inputs_shuffled_mended() -> Report:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        order = torch.randperm(len(x))
        return LOSS(m(x[order]), y[order])

    return _table(_with(loss), seed=12)


def _bytes(times: int) -> Report:
    torch.manual_seed(13)
    x, y = pictures()
    x = ((x - x.min()) / (x.max() - x.min()) * 255).to(torch.uint8).float() / 255**times
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    return torchbce.check(model, (x, y), LOSS, torch.optim.Adam(model.parameters()))


@bug(TWICE, "The image is divided by 255 after ToTensor(), which has done it: 0 to 1 / 255.", ("BCE041",))
def hands_divided_twice() -> Report:
    return _bytes(2)


@mended(TWICE, "It is divided once.")
def hands_divided_twice_mended() -> Report:
    return _bytes(1)


def _same(same: bool) -> Report:
    torch.manual_seed(14)
    x, y = table(64)
    return torchbce.check(perceptron(), (x[:1].repeat(64, 1) if same else x, y), LOSS)


@bug(SAME, "Every sample of a batch is the same one.", ("BCE041", "BCE015"))
def same_sample_in_the_batch() -> Report:
    return _same(True)


@mended(SAME, "Each has its own.")
def same_sample_in_the_batch_mended() -> Report:
    return _same(False)


def _rate(rate: float) -> Report:
    torch.manual_seed(15)
    model = nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(64, 64), nn.ReLU())), nn.Linear(64, 1))
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), *model)
    return torchbce.check(model, table(64), LOSS, torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9))


@bug(RATE, "A hundred times the learning rate that works: the loss falls, rises, and is NaN.", ("BCE039",))
def rate_a_hundred_times_too_high() -> Report:
    return _rate(5.0)


@mended(RATE, "The rate that works.")
def rate_a_hundred_times_too_high_mended() -> Report:
    return _rate(0.05)
