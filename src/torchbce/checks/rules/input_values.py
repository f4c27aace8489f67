"""BCE041: do the inputs of the batch's items differ from each other, and by more than rounding?"""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.parts import tensors_in
from torchbce.checks.probing.trial import Trial

FEWEST = 8  # items, and values
STILL = 1e-4  # of a number's size; float32 has seven digits
FLAT = 5e-3  # of a picture's brightness
BYTE = 255.0


@rule(
    "BCE041",
    "inputs-alike",
    "inputs differ, and are scaled once",
    target="model",
    explains=("BCE011", "BCE013", "BCE014", "BCE015", "BCE016"),
)
def inputs_alike(t: Trial) -> Outcome:
    """BCE041: all items equal or nearly so, and pictures of bytes that are divided by 255 twice."""
    parts = [part.detach() for _, part in tensors_in(t.inputs, "inputs") if part.ndim and len(part) == len(t.targets)]
    parts = [part for part in parts if part[:1].numel()]
    if not parts or t.targets.ndim == 0 or len(t.targets) < FEWEST:
        return not_applicable(f"inputs are not one per item, or fewer than {FEWEST} items")
    if not any(bool((part != part[:1]).any()) for part in parts):
        if not bool((t.targets != t.targets[:1]).any()):
            return not_applicable("all items are alike, and so are their targets")
        return fail(
            f"all {len(t.targets)} items of the batch have the same inputs, and their targets differ: nothing can tell "
            "them apart",
            "look at the dataset's __getitem__: does it use its index?",
        )
    numbers = [part for part in parts if part.is_floating_point()]
    if len(numbers) != len(parts):
        return passed()
    for part in numbers:
        if _is_divided_twice(part):
            return warn(
                f"pictures of bytes are divided by 255 twice: their largest number is {part.max().item():.3g}, at most "
                f"{1 / BYTE:.3g} = 1 / 255",
                "x = x / 255  # once: transforms.ToTensor() does it already for bytes",
                {"largest": part.max().item()},
            )
    spread, flat = max(map(_spread, numbers)), all(part.ndim >= 4 for part in numbers)
    if spread < (FLAT if flat else STILL):
        return warn(
            f"the inputs of the batch's items hardly differ: by {spread:.2g} of their size, from "
            f"{min(part.min().item() for part in numbers):.6g} to {max(part.max().item() for part in numbers):.6g}",
            "x = (x - mean) / std, with the mean and the standard deviation of these numbers",
            {"spread": spread},
        )
    return passed()


def _spread(part: Tensor) -> float:
    """Return how far items differ, in the place where they differ most, beside the size of the numbers there."""
    rows = part.double().reshape(len(part), -1)
    return float((rows.std(0) / rows.abs().amax(0).clamp(min=1e-300)).max())


def _is_divided_twice(part: Tensor) -> bool:
    """Return whether all numbers are a byte / 255 / 255, or a picture's numbers just fill 0 to 1 / 255."""
    low, high = (bound.item() for bound in part.aminmax())
    if low < 0 or not 0 < high <= (1 + 1e-3) / BYTE or part[0].numel() < 16:
        return False
    bytes_ = part.double() * BYTE * BYTE
    whole = bytes_.round()
    precise = part.dtype in (torch.float32, torch.float64)
    if precise and float((bytes_ - whole).abs().max()) < 0.01:
        return len(torch.unique(whole)) >= FEWEST
    return part.ndim >= 4 and high > 0.9 / BYTE
