"""BCE030 before training: are validation items among the training items?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import also_checks
from torchbce.checks.probing.parts import tensors_in
from torchbce.checks.probing.trial import Trial, first_batch
from torchbce.common.batch import unpack

MOST_ITEMS = 100_000  # of each part, as a loader may never end
LEAST_SHARE = 0.01


@also_checks("BCE030", target="model")
def shared_items(t: Trial) -> Outcome:
    """BCE030: equal inputs in both parts, beside how many are equal within the training items anyway."""
    train, valid = t.user.batch, t.user.valid
    if valid is None:
        return not_applicable("needs valid, a batch or a loader")
    ours, theirs = Counter(_hashes(train)), list(_hashes(valid))
    distinct = set(theirs)
    shared = sum(digest in ours for digest in theirs)
    share = shared / len(theirs) if theirs else 0.0
    repeated = sum(count for count in ours.values() if count > 1) / max(1, ours.total())
    evidence = {"shared": shared, "valid": len(theirs), "train": ours.total(), "repeated in train": repeated}
    # Rows of few different values repeat by themselves. Where numbers hardly ever do, a row that does is a copy.
    if share > LEAST_SHARE and (share > 2 * repeated or _never_equal(valid, len(distinct))):
        return warn(
            f"{shared:,} of {len(theirs):,} validation items have the inputs of one of {ours.total():,} training "
            f"items; {100 * repeated:.3g} % of the training items repeat among themselves",
            "split once, before shuffling or augmenting, and by person or group where items belong together",
            evidence,
        )
    return passed(f"{shared:,} of {len(theirs):,} validation items are training items")


def _never_equal(valid: Any, distinct: int) -> bool:
    """Return whether one number of an item differs between nearly all items; looked for in the first batch."""
    inputs, targets = unpack(first_batch(valid))
    for _, part in tensors_in(inputs):
        if part.is_floating_point() and part.ndim and len(part) == len(targets) >= 8:
            columns = part.detach().reshape(len(part), -1)[:, :16]
            rows = len(torch.unique(columns, dim=0))
            if max(len(torch.unique(column)) for column in columns.T) > 0.95 * min(rows, distinct):
                return True
    return False


def _hashes(batches: Any) -> Iterator[bytes]:
    """A hash of each item's inputs."""
    seen = 0
    single = isinstance(batches, list | tuple | Mapping)
    for batch in [batches] if single else batches:
        inputs, targets = unpack(batch)
        parts = [part for _, part in tensors_in(inputs) if part.ndim and len(part) == len(targets)]
        rows = [part.detach().cpu().reshape(len(targets), -1).contiguous() for part in parts]
        if not rows:
            return
        together = torch.cat([part.view(torch.uint8) for part in rows], 1).numpy()
        yield from (hashlib.blake2b(row, digest_size=16).digest() for row in together)
        seen += len(targets)
        if seen >= MOST_ITEMS:
            return
