"""Read predictions of several models for the same items: from one file, or from files joined by row or by a key."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import file_format
from torchbce.io.predictions import PredictionBatch, PredictionColumns, as_texts, prediction_batch
from torchbce.io.scan import column_names, read_batches
from torchbce.io.signatures import CSV
from torchbce.io.source import SourceFile

ROW = "__torchbce_row"
ROUNDED = 1e-6  # soft targets may have been rounded to float32


@dataclass(frozen=True)
class PredictionFile:
    """The file and the columns of one model's predictions."""

    source: SourceFile
    columns: PredictionColumns
    has_targets: bool = True

    @property
    def names(self) -> list[str]:
        """Return the columns to read."""
        return [name for name in self.columns.names if self.has_targets or name != self.columns.target]


def read_paired(
    models: list[PredictionFile], key: str | None = None, part: tuple[int, int] = (0, 1)
) -> Iterator[list[PredictionBatch]]:
    """Yield a batch for each model, of the same items, with the first one's groups, clusters and weights.

    key: the column that names an item, where the files are not in the same order.

    Raises:
        InputError: files of different lengths, keys that repeat or lack, targets that differ, and what
            `read_predictions` refuses.
    """
    models = [_with_known_columns(model, models[0]) for model in models]
    first = models[0]
    has_rows = False
    frames = _by_key(models, key) if key else _by_row(models, part)
    for rows, parts in frames:
        keep = pl.repeat(True, len(rows), eager=True)
        if first.columns.only:
            column, value = first.columns.only
            keep = (as_texts(parts[0][column], first.source) == value).fill_null(False)
        if not keep.any():
            continue
        has_rows = True
        chosen = rows[keep.to_numpy()]
        paired = []
        for model, frame in zip(models, parts, strict=True):
            own = frame[ROW].to_numpy()[keep.to_numpy()] if ROW in frame.columns else chosen
            if not model.has_targets:
                frame = frame.with_columns(parts[0][first.columns.target].alias(model.columns.target))
            paired.append(prediction_batch(frame.filter(keep), own, model.columns, model.source))
        for model, batch in zip(models[1:], paired[1:], strict=True):
            _check_targets(first, paired[0], model, batch)
        yield paired
    if not has_rows and part == (0, 1):
        what = f"no row has {first.columns.only[0]} = {first.columns.only[1]!r}" if first.columns.only else "no rows"
        raise InputError(f"{first.source.name}: {what}")


def _with_known_columns(model: PredictionFile, first: PredictionFile) -> PredictionFile:
    """Ask only the first file for groups and weights; the others may leave out the targets too."""
    if model is first:
        return model
    columns = replace(model.columns, weight=None, by=None, cluster=None, only=None)
    return PredictionFile(model.source, columns, has_targets=columns.target in column_names(model.source))


def _by_row(models: list[PredictionFile], part: tuple[int, int]) -> Iterator[tuple[np.ndarray, list[pl.DataFrame]]]:
    """Yield rows of the same numbers, which are the same items."""
    first = models[0].source
    if all(model.source.path == first.path for model in models):
        names = list(dict.fromkeys(name for model in models for name in model.names))
        for start, frame in read_batches(first, names, models[0].columns.flags, part):
            yield np.arange(start, start + frame.height), [frame] * len(models)
        return
    if part[1] > 1 and any(file_format(model.source) == CSV for model in models):
        if part[0]:
            return  # the first process reads what cannot be parted
        part = (0, 1)
    streams = [read_batches(model.source, model.names, model.columns.flags, part) for model in models]
    number, rests = yield from read_in_step(streams)
    if any(rests):
        _refuse_lengths(models, rests, number)


def read_in_step(
    streams: list[Iterator[tuple[int, pl.DataFrame]]],
) -> Generator[tuple[np.ndarray, list[pl.DataFrame]], None, tuple[int, list[int]]]:
    """Yield the numbers of some rows and these rows of each stream of batches, until one stream ends.

    Returns the number of the next row, and how many rows each stream has ready from there on.
    """
    rests = [pl.DataFrame()] * len(streams)
    number = 0
    while True:
        for i, stream in enumerate(streams):
            if not rests[i].height:
                start, rests[i] = next(stream, (number, pl.DataFrame()))
                number = number or start
        heights = [frame.height for frame in rests]
        size = min(heights)
        if not size:
            return number, heights
        yield np.arange(number, number + size), [frame[:size] for frame in rests]
        rests = [frame[size:] for frame in rests]
        number += size


def _refuse_lengths(models: list[PredictionFile], heights: list[int], number: int) -> None:
    short = models[heights.index(0)].source.name
    long = models[heights.index(max(heights))].source.name
    raise InputError(
        f"{short} has {number - 1:,} rows and {long} more; rows are compared one by one. If both name their items, "
        "join them with --key COL"
    )


def _by_key(models: list[PredictionFile], key: str) -> Iterator[tuple[np.ndarray, list[pl.DataFrame]]]:
    """Yield the rows of the first file in their order, and those of the others, held in memory, by the key."""
    others = [_read_by_key(model, key) for model in models[1:]]
    seen: list[pl.Series] = []
    for start, frame in read_batches(models[0].source, [key, *models[0].names], f"--key {key}"):
        rows = np.arange(start, start + frame.height)
        keys = _keys(frame, key, models[0].source)
        parts = [frame]
        for model, other in zip(models[1:], others, strict=True):
            joined = keys.to_frame(key).join(other, on=key, how="left", maintain_order="left")
            lacking = joined[ROW].is_null()
            if lacking.any():
                position = int(lacking.arg_max() or 0)
                raise InputError(
                    f"{model.source.name} has no row with {key} = {keys[position]!r}, as row {rows[position]} of "
                    f"{models[0].source.name} has ({int(lacking.sum()):,} such rows)"
                )
            parts.append(joined)
        seen.append(keys)
        yield rows, parts
    all_keys = pl.concat(seen) if seen else pl.Series([], dtype=pl.String)
    _refuse_repeats(all_keys, key, models[0].source)
    for model, other in zip(models[1:], others, strict=True):
        if other.height != len(all_keys):
            alone = other.join(all_keys.to_frame(key), on=key, how="anti")
            raise InputError(
                f"{models[0].source.name} has no row with {key} = {alone[key][0]!r}, as row {alone[ROW][0]} of "
                f"{model.source.name} has ({alone.height:,} such rows)"
            )


def _read_by_key(model: PredictionFile, key: str) -> pl.DataFrame:
    """Read a whole file with its keys, each once, and the rows' numbers."""
    parts = []
    for start, frame in read_batches(model.source, [key, *model.names], f"--key {key}"):
        rows = pl.Series(ROW, np.arange(start, start + frame.height))
        parts.append(frame.with_columns(_keys(frame, key, model.source), rows))
    if not parts:
        raise InputError(f"{model.source.name} has a header and no rows")
    whole = pl.concat(parts)
    _refuse_repeats(whole[key], key, model.source)
    return whole


def _keys(frame: pl.DataFrame, key: str, source: SourceFile) -> pl.Series:
    keys = as_texts(frame[key], source).alias(key)
    if keys.null_count():
        raise InputError(
            f"{source.name}: column {key!r} is missing in {keys.null_count():,} rows; a key names each item"
        )
    return keys


def _refuse_repeats(keys: pl.Series, key: str, source: SourceFile) -> None:
    repeated = keys.is_duplicated()
    if repeated.any():
        value = keys[int(repeated.arg_max() or 0)]
        rows = ((keys == value).arg_true() + 1).head(2).to_list()
        raise InputError(
            f"{source.name}: {key} = {value!r} stands in rows {rows[0]} and {rows[1]}; a key names one item"
        )


def _check_targets(first: PredictionFile, batch: PredictionBatch, other: PredictionFile, its: PredictionBatch) -> None:
    differing = ((batch.targets.double() - its.targets.double()).abs() > ROUNDED).nonzero()
    if len(differing):
        position = int(differing[0])
        raise InputError(
            f"the targets differ: row {batch.rows[position]} of {first.source.name} has "
            f"{batch.targets[position].item():g} and row {its.rows[position]} of {other.source.name} "
            f"{its.targets[position].item():g} ({len(differing):,} such rows); a comparison takes the same "
            "items: if one file has them in another order, name the column that says which is which, as --key id"
        )
