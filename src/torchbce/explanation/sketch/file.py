"""A sketch as the content of a file, and back: without pickles, with a digest, and checked against a schema."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TypeVar

import numpy as np
import torch

from torchbce.explanation.sketch.archive import unpacked_arrays
from torchbce.explanation.sketch.clusters import Clusters
from torchbce.explanation.sketch.groups import Groups, new_parts
from torchbce.explanation.sketch.keyed_sums import KeyedSums
from torchbce.explanation.sketch.points import PointTable
from torchbce.explanation.sketch.sketch import SATURATED, Sketch, Sums
from torchbce.explanation.sketch.worst_items import BINS, KEPT, Worst

Result = TypeVar("Result")
MAGIC = b"torchbce sketch 5\n"  # the number counts the formats
DIGEST = 32
MAY_BE_NAN = ("total", "plain_total", "clamped_cost", "moment", "third", "keras")  # where a loss is infinite
DTYPES = {str(dtype).removeprefix("torch.") for dtype in SATURATED}


def to_bytes(sketch: Sketch) -> bytes:
    """Serialize a sketch to the content of a file."""
    return packed(MAGIC, *_state(sketch))


def from_bytes(content: bytes) -> Sketch:
    """Restore a sketch.

    Raises:
        ValueError: the content is not a sketch, is damaged, or is of another version.
    """
    return unpacked(MAGIC, content, "a sketch that explain --save of this version made", _restored)


def packed(magic: bytes, texts: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """Serialize texts and arrays, with a digest."""
    file = io.BytesIO()
    np.savez_compressed(file, texts=np.array(json.dumps(texts)), **arrays)
    content = file.getvalue()
    return magic + hashlib.sha256(content).digest() + content


def unpacked(
    magic: bytes, content: bytes, what: str, restored: Callable[[dict[str, Any], dict[str, np.ndarray]], Result]
) -> Result:
    """Check the digest, and call `restored` with the texts and arrays.

    Raises:
        ValueError: the content is something else, is damaged, or is of another version.
    """
    if not content.startswith(magic):
        known = magic.decode().strip()
        old = content.startswith(magic.rstrip(b"0123456789\n")) or content[:2] == b"PK"
        why = "another version of torchbce saved it" if old else f"it does not begin with {known!r}"
        raise ValueError(f"this is not {what}: {why}; make it anew")
    digest, rest = content[len(magic) : len(magic) + DIGEST], content[len(magic) + DIGEST :]
    if hashlib.sha256(rest).digest() != digest:
        raise ValueError("this sketch is damaged: its content and its digest differ; make it anew")
    try:
        arrays = unpacked_arrays(rest)
        return restored(json.loads(str(arrays.pop("texts"))), arrays)
    except Exception as error:  # zip, numpy and json raise all sorts for what nobody saved
        raise ValueError(f"this sketch was not made by torchbce: {error}") from error


def _state(sketch: Sketch) -> tuple[dict[str, Any], dict[str, Any]]:
    texts = {
        "from_logits": sketch.from_logits,
        "weighted": sketch.weighted,
        "dtype": sketch.dtype,
        "sums": asdict(sketch.sums),
        "sources": sketch.sources,
        "groups": sketch.groups.names,
        "whole": sketch.whole.names,
        "clusters": None if sketch.clusters is None else sketch.clusters.names,
    }
    arrays = {f"worst_{name}": column for name, column in sketch.worst._asdict().items()}
    filled = sketch.losses.counts.nonzero()[:, 0]
    columns = {"bins": filled, "counts": sketch.losses.counts[filled], "loss_sums": sketch.losses.sums[filled]}
    arrays |= {name: column.numpy() for name, column in columns.items()}
    arrays |= _named("points", sketch.points.state())
    arrays |= {"groups": sketch.groups.sums, "whole": sketch.whole.sums}
    if sketch.clusters is not None:
        arrays["clusters"] = sketch.clusters.sums
        arrays |= _named("cells", sketch.clusters.cells.state())
    arrays |= parts_of(sketch.groups, "parts")
    return texts, arrays


def _named(what: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{what}_{name}": array for name, array in arrays.items()}


def _of_name(what: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{what}_"): array for name, array in arrays.items() if name.startswith(f"{what}_")}


def parts_of(groups: Groups, what: str) -> dict[str, np.ndarray]:
    """Return the sums over the parts of groups in clusters, as arrays of a file; empty where there are none."""
    return {} if groups.parts is None else _named(what, groups.parts.state())


def restore_parts(groups: Groups, what: str, arrays: dict[str, np.ndarray]) -> None:
    """Restore the sums over the parts of groups in clusters, where there are any."""
    state = _of_name(what, arrays)
    if state:
        first = state["first"]
        _require(first.dtype == np.int64 and bool(((first >= 0) & (first < len(groups))).all()), "groups in clusters")
        groups.parts = new_parts()
        groups.parts.restore(state)


def _restored(texts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Sketch:
    sketch = Sketch(_flag(texts["from_logits"]), _flag(texts["weighted"]))
    _require(texts["dtype"] in DTYPES, "dtype")
    sketch.dtype = texts["dtype"]
    sketch.sums = _numbers(Sums, texts["sums"])
    sketch.sources = [str(source) for source in texts["sources"]]
    add_rows(sketch.groups, texts["groups"], arrays["groups"])
    add_rows(sketch.whole, texts["whole"], arrays["whole"])
    sketch.points = PointTable.restored(_of_name("points", arrays))
    worst = {name: arrays[f"worst_{name}"] for name in Worst._fields}
    sizes = {column.shape for column in worst.values()}
    _require(len(sizes) == 1 and all(column.ndim == 1 and len(column) <= KEPT for column in worst.values()), "worst")
    sources = worst["source"]
    _require(sources.dtype.kind == "i" and bool(((sources >= 0) & (sources < len(sketch.sources))).all()), "sources")
    kinds = {name: "i" if name in ("source", "row") else "f" for name in Worst._fields}
    _require(all(column.dtype.kind == kinds[name] for name, column in worst.items()), "worst")
    losses = worst["loss"]
    _require(bool((losses[1:] <= losses[:-1]).all() and not np.isnan(losses).any()), "worst losses")
    _require(not math.isfinite(sketch.sums.total) or bool(np.isfinite(losses).all()), "worst losses")
    sketch.worst = Worst(**worst)
    bins, counts, sums = (arrays[name] for name in ("bins", "counts", "loss_sums"))
    inside = bins.dtype.kind == "i" and bool(((bins >= 0) & (bins < BINS)).all())
    _require(inside and counts.dtype.kind == "i" and bins.shape == counts.shape == sums.shape, "histogram")
    sketch.losses.counts[torch.from_numpy(bins)] = torch.from_numpy(counts)
    sketch.losses.sums[torch.from_numpy(bins)] = torch.from_numpy(sums)
    _require(int(counts.sum()) == sketch.sums.count, "counts")
    if texts["clusters"] is not None:
        sketch.clusters = Clusters()
        add_rows(sketch.clusters, texts["clusters"], arrays["clusters"])
        sketch.clusters.cells.restore(_of_name("cells", arrays))
    restore_parts(sketch.groups, "parts", arrays)
    return sketch


def add_rows(into: KeyedSums, names: list[str], sums: np.ndarray) -> None:
    """Add sums from a file, once their shape is right."""
    _require(sums.dtype == np.float64 and sums.shape == (len(names), into.sums.shape[1]), "groups or clusters")
    into.add([str(name) for name in names], sums)


def _numbers(kind: type[Any], numbers: dict[str, Any]) -> Any:
    """Restore a record of numbers, whole ones where its defaults are."""
    expected = {field.name: type(field.default) for field in fields(kind)}
    _require(expected.keys() == numbers.keys(), kind.__name__)
    for name, value in numbers.items():
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        _require(whole or (expected[name] is float and isinstance(value, float)), name)
        _require(name in MAY_BE_NAN or not math.isnan(value), name)
    return kind(**numbers)


def _flag(value: object) -> bool:
    _require(isinstance(value, bool), "a flag")
    return bool(value)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} cannot be")
