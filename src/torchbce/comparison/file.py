"""Pairs as the content of a file, and back: see `explanation.sketch.file`."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.comparison.changed import KEPT, Changed
from torchbce.comparison.joint import PairPoints
from torchbce.comparison.pairs import Pairs, cluster_sums
from torchbce.explanation.sketch import file

MAGIC = b"torchbce pairs 1\n"  # the number counts the formats
SUMS = ("changes", "groups", "bands")
CHANGED = ("gained", "lost")


def to_bytes(pairs: Pairs) -> bytes:
    """The content of a file."""
    tables = {name: getattr(pairs, name) for name in SUMS}
    if pairs.clusters is not None:
        tables["clusters"] = pairs.clusters
    texts = {
        "better": pairs.better,
        "worse": pairs.worse,
        "exact": pairs.joint.is_exact,
        "names": {name: table.names for name, table in tables.items()},
    }
    arrays: dict[str, Any] = {name: table.sums for name, table in tables.items()}
    arrays |= {f"joint_{name}": column for name, column in vars(pairs.joint.points()).items()}
    for which in CHANGED:
        arrays |= {f"{which}_{name}": column for name, column in getattr(pairs, which)._asdict().items()}
    for name in ("a", "b"):
        arrays[f"sketch_{name}"] = np.frombuffer(file.to_bytes(getattr(pairs, name)), np.uint8)
    return file.packed(MAGIC, texts, arrays)


def from_bytes(content: bytes) -> Pairs:
    """The pairs again.

    Raises:
        ValueError: the content is something else, is damaged, or is of another version.
    """
    return file.unpacked(MAGIC, content, "what compare --save of this version made", _restored)


def _restored(texts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Pairs:
    a, b = (file.from_bytes(arrays[f"sketch_{name}"].tobytes()) for name in ("a", "b"))
    pairs = Pairs((a.from_logits, b.from_logits))
    pairs.a, pairs.b = a, b
    for name, names in texts["names"].items():
        if name == "clusters":
            pairs.clusters = cluster_sums()
        elif name not in SUMS:
            raise ValueError(f"it has sums named {name!r}")
        file.add_rows(getattr(pairs, name), names, arrays[name])
    if not texts["exact"]:
        pairs.joint.coarsen()
    columns = [arrays[f"joint_{name}"] for name in ("a", "b", "weight", "positive")]
    if len({column.shape for column in columns}) > 1 or any(column.dtype != np.float64 for column in columns):
        raise ValueError("its points cannot be")
    pairs.joint.add_points(PairPoints(*columns))
    pairs.better, pairs.worse = int(texts["better"]), int(texts["worse"])
    for which in CHANGED:
        kept = Changed(*(arrays[f"{which}_{name}"] for name in Changed._fields))
        sizes = {len(column) for column in kept}
        if len(sizes) > 1 or max(sizes) > KEPT or not ((kept.source >= 0) & (kept.source < len(a.sources))).all():
            raise ValueError(f"its items that {which} most cannot be")
        setattr(pairs, which, kept)
    return pairs
