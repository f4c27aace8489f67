"""Pairs as the content of a file, and back: see `explanation.sketch.file`."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.comparison.changed import KEPT, Changed
from torchbce.comparison.pairs import GROUPED, Pairs
from torchbce.comparison.sample import KEPT as SAMPLED
from torchbce.comparison.sample import Kept
from torchbce.explanation.sketch import file

MAGIC = b"torchbce pairs 2\n"  # the number counts the formats
BETS = "bets of "
CHANGED = ("gained", "lost")


def to_bytes(pairs: Pairs) -> bytes:
    """Serialize pairs to the content of a file."""
    tables = {name: getattr(pairs, name) for name in GROUPED}
    tables |= {BETS + name: table for name, table in pairs.bets.items()}
    texts = {
        "models": pairs.names,
        "better": pairs.better,
        "worse": pairs.worse,
        "weights": pairs.sample.weights,
        "counts": pairs.sample.counts,
        "clustered": pairs.sample.clustered,
        "names": {name: table.names for name, table in tables.items()},
        "key": pairs.key,
        "key_values": [[source, row, value] for (source, row), value in sorted(pairs.key_values.items())],
    }
    arrays: dict[str, Any] = {name: table.sums for name, table in tables.items()}
    for name in GROUPED:
        arrays |= file.parts_of(tables[name], f"parts_of_{name}")
    for label, items in enumerate(pairs.sample.kept):
        arrays |= {f"sample_{label}_{name}": column for name, column in items._asdict().items()}
    for which in CHANGED:
        arrays |= {f"{which}_{name}": column for name, column in getattr(pairs, which)._asdict().items()}
    for name in ("a", "b"):
        arrays[f"sketch_{name}"] = np.frombuffer(file.to_bytes(getattr(pairs, name)), np.uint8)
    return file.packed(MAGIC, texts, arrays)


def from_bytes(content: bytes) -> Pairs:
    """Restore pairs.

    Raises:
        ValueError: the content is something else, is damaged, or is of another version.
    """
    return file.unpacked(MAGIC, content, "what compare --save of this version made", _restored)


def _restored(texts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Pairs:
    a, b = (file.from_bytes(arrays[f"sketch_{name}"].tobytes()) for name in ("a", "b"))
    first, second = map(str, texts["models"])
    pairs = Pairs((a.from_logits, b.from_logits), (first, second))
    pairs.a, pairs.b = a, b
    for name, names in texts["names"].items():
        which = name.removeprefix(BETS)
        if which not in GROUPED:
            raise ValueError(f"it has sums named {name!r}")
        file.add_rows(pairs.bets[which] if name.startswith(BETS) else getattr(pairs, which), names, arrays[name])
    for name in GROUPED:
        file.restore_parts(getattr(pairs, name), f"parts_of_{name}", arrays)
    for label in (0, 1):
        items = Kept(*(arrays[f"sample_{label}_{name}"] for name in Kept._fields))
        kinds = [column.dtype for column in items]
        if len({column.shape for column in items}) > 1 or len(items.key) > SAMPLED or kinds[0] != np.uint64:
            raise ValueError("its sample cannot be")
        pairs.sample.kept[label] = items
        pairs.sample.weights[label] = float(texts["weights"][label])
        pairs.sample.counts[label] = int(texts["counts"][label])
    pairs.sample.clustered = bool(texts["clustered"])
    pairs.better, pairs.worse = int(texts["better"]), int(texts["worse"])
    for which in CHANGED:
        changed = Changed(*(arrays[f"{which}_{name}"] for name in Changed._fields))
        sizes = {len(column) for column in changed}
        if len(sizes) > 1 or max(sizes) > KEPT or not ((changed.source >= 0) & (changed.source < len(a.sources))).all():
            raise ValueError(f"its items that {which} most cannot be")
        setattr(pairs, which, changed)
    if texts.get("key") is not None:  # files of older versions have none
        values = {(str(source), int(row)): str(value) for source, row, value in texts["key_values"]}
        pairs.name_items(str(texts["key"]), values)
    return pairs
