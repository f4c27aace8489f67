"""Predictions of several models for the same items: in one file, or in files joined by row or by a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import CSV, what_it_is
from torchbce.io.opened import Source
from torchbce.io.predictions import Batch, Columns, as_texts, batch_of
from torchbce.io.scan import batches, column_names

ROW = "__torchbce_row"
ROUNDED = 1e-6  # soft targets may have been rounded to float32


@dataclass(frozen=True)
class Model:
    """Where the predictions of one model are."""

    source: Source
    columns: Columns
    has_targets: bool = True

    @property
    def names(self) -> list[str]:
        """The columns that are to be read."""
        return [name for name in self.columns.names if self.has_targets or name != self.columns.target]


def read_together(models: list[Model], key: str | None = None, part: tuple[int, int] = (0, 1)) -> Iterator[list[Batch]]:
    """A batch for each model, of the same items, with the first one's groups, clusters and weights.

    key: the column that names an item, where the files are not in the same order.

    Raises:
        InputError: files of different lengths, keys that repeat or lack, targets that differ, and what
            `read_predictions` refuses.
    """
    models = [_with_known_columns(model, models[0]) for model in models]
    first = models[0]
    found = False
    frames = _by_key(models, key) if key else _by_row(models, part)
    for rows, parts in frames:
        keep = pl.repeat(True, len(rows), eager=True)
        if first.columns.only:
            column, value = first.columns.only
            keep = (as_texts(parts[0][column], first.source) == value).fill_null(False)
        if not keep.any():
            continue
        found = True
        chosen = rows[keep.to_numpy()]
        made = []
        for model, frame in zip(models, parts, strict=True):
            own = frame[ROW].to_numpy()[keep.to_numpy()] if ROW in frame.columns else chosen
            if not model.has_targets:
                frame = frame.with_columns(parts[0][first.columns.target].alias(model.columns.target))
            made.append(batch_of(frame.filter(keep), own, model.columns, model.source))
        for model, batch in zip(models[1:], made[1:], strict=True):
            _check_targets(first, made[0], model, batch)
        yield made
    if not found and part == (0, 1):
        what = f"no row has {first.columns.only[0]} = {first.columns.only[1]!r}" if first.columns.only else "no rows"
        raise InputError(f"{first.source.name}: {what}")


def _with_known_columns(model: Model, first: Model) -> Model:
    """What only the first file needs is asked of no other; a second file may leave out the targets."""
    if model is first:
        return model
    columns = replace(model.columns, weight=None, by=None, cluster=None, only=None)
    return Model(model.source, columns, has_targets=columns.target in column_names(model.source))


def _by_row(models: list[Model], part: tuple[int, int]) -> Iterator[tuple[np.ndarray, list[pl.DataFrame]]]:
    """Rows in step: the same numbers are the same items."""
    one = models[0].source
    if all(model.source.path == one.path for model in models):
        names = list(dict.fromkeys(name for model in models for name in model.names))
        for start, frame in batches(one, names, models[0].columns.flags, part):
            yield np.arange(start, start + frame.height), [frame] * len(models)
        return
    if part[1] > 1 and any(what_it_is(model.source) == CSV for model in models):
        if part[0]:
            return  # the first process reads what cannot be parted
        part = (0, 1)
    streams = [batches(model.source, model.names, model.columns.flags, part) for model in models]
    left: list[pl.DataFrame | None] = [None] * len(models)
    number = 0
    while True:
        for place, stream in enumerate(streams):
            rest = left[place]
            if rest is None or not rest.height:
                start, left[place] = next(stream, (number, None))
                number = number or start
        heights = [0 if frame is None else frame.height for frame in left]
        size = min(heights)
        if not size:
            if max(heights):
                _refuse_lengths(models, heights, number)
            return
        yield np.arange(number, number + size), [frame[:size] for frame in left if frame is not None]
        left = [None if frame is None else frame[size:] for frame in left]
        number += size


def _refuse_lengths(models: list[Model], heights: list[int], number: int) -> None:
    short = models[heights.index(0)].source.name
    long = models[heights.index(max(heights))].source.name
    raise InputError(
        f"{short} has {number - 1:,} rows and {long} more; rows are compared one by one. If both name their items, "
        "join them with --key COL"
    )


def _by_key(models: list[Model], key: str) -> Iterator[tuple[np.ndarray, list[pl.DataFrame]]]:
    """The first file in its order; the others are held in memory and looked up."""
    others = [_whole(model, key) for model in models[1:]]
    seen: list[pl.Series] = []
    for start, frame in batches(models[0].source, [key, *models[0].names], f"--key {key}"):
        rows = np.arange(start, start + frame.height)
        keys = _keys(frame, key, models[0].source)
        parts = [frame]
        for model, other in zip(models[1:], others, strict=True):
            joined = keys.to_frame(key).join(other, on=key, how="left", maintain_order="left")
            lacking = joined[ROW].is_null()
            if lacking.any():
                place = int(lacking.arg_max() or 0)
                raise InputError(
                    f"{model.source.name} has no row with {key} = {keys[place]!r}, as row {rows[place]} of "
                    f"{models[0].source.name} has ({int(lacking.sum()):,} such rows)"
                )
            parts.append(joined)
        seen.append(keys)
        yield rows, parts
    every = pl.concat(seen) if seen else pl.Series([], dtype=pl.String)
    _refuse_repeats(every, key, models[0].source)
    for model, other in zip(models[1:], others, strict=True):
        if other.height != len(every):
            alone = other.join(every.to_frame(key), on=key, how="anti")
            raise InputError(
                f"{models[0].source.name} has no row with {key} = {alone[key][0]!r}, as row {alone[ROW][0]} of "
                f"{model.source.name} has ({alone.height:,} such rows)"
            )


def _whole(model: Model, key: str) -> pl.DataFrame:
    parts = []
    for start, frame in batches(model.source, [key, *model.names], f"--key {key}"):
        rows = pl.Series(ROW, np.arange(start, start + frame.height))
        parts.append(frame.with_columns(_keys(frame, key, model.source), rows))
    if not parts:
        raise InputError(f"{model.source.name} has a header and no rows")
    whole = pl.concat(parts)
    _refuse_repeats(whole[key], key, model.source)
    return whole


def _keys(frame: pl.DataFrame, key: str, source: Source) -> pl.Series:
    keys = as_texts(frame[key], source).alias(key)
    if keys.null_count():
        raise InputError(
            f"{source.name}: column {key!r} is missing in {keys.null_count():,} rows; a key names each item"
        )
    return keys


def _refuse_repeats(keys: pl.Series, key: str, source: Source) -> None:
    repeated = keys.is_duplicated()
    if repeated.any():
        value = keys[int(repeated.arg_max() or 0)]
        rows = ((keys == value).arg_true() + 1).head(2).to_list()
        raise InputError(
            f"{source.name}: {key} = {value!r} stands in rows {rows[0]} and {rows[1]}; a key names one item"
        )


def _check_targets(first: Model, batch: Batch, other: Model, its: Batch) -> None:
    differ = ((batch.targets.double() - its.targets.double()).abs() > ROUNDED).nonzero()
    if len(differ):
        place = int(differ[0])
        raise InputError(
            f"the targets differ: row {batch.rows[place]} of {first.source.name} has {batch.targets[place].item():g} "
            f"and row {its.rows[place]} of {other.source.name} {its.targets[place].item():g} ({len(differ):,} such "
            "rows); a comparison takes the same items: if one file has them in another order, name the column that "
            "says which is which, as --key id"
        )
