"""Scan a table of any size once, to learn column types, encoders, target and weights before rows are encoded."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.io.kinds import missing_as_null
from torchbce.io.shards import Shards, TableBatch
from torchbce.table.columns.background import StandIns, background, filled
from torchbce.table.columns.column_type import ColumnType
from torchbce.table.columns.columns import FittedColumn, inputs_of, number_count
from torchbce.table.columns.encoder import Encoder
from torchbce.table.columns.fitter import ColumnFitter
from torchbce.table.columns.levels import ROOM, Levels
from torchbce.table.columns.requirements import FEWEST, require_of_each_class, usable_columns
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.columns.target import Target
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.columns.weights_times import Weights
from torchbce.table.network.bins import EDGE_ROWS
from torchbce.table.packed.encoded_rows import RowEncoder
from torchbce.table.splits.parts import DROPPED, NAMES, OF_SAMPLE, TEST, TRAIN
from torchbce.table.splits.row_parts import RowParts
from torchbce.table.splits.row_sample import RowSample

ANSWER, WEIGHT = "__torchbce_answer", "__torchbce_weight"


@dataclass(frozen=True)
class TableScan:
    """Result of a pass over a table.

    counts: rows of each part and class, (3, 2). dropped: rows in none of the parts. sample: encoded training rows.
    """

    kinds: dict[str, str]
    left_out: dict[str, str]
    notes: list[str]
    encoder: Encoder
    rows: RowEncoder
    target: Target
    counts: np.ndarray
    dropped: int
    sample: np.ndarray
    sample_answers: np.ndarray
    sample_weight: np.ndarray | None

    @property
    def columns(self) -> list[FittedColumn]:
        return self.encoder.columns


class FitPass:
    """Turn batches into a `TableScan`, in memory that does not grow with the rows."""

    def __init__(self, shards: Shards, roles: ColumnRoles, parts: RowParts, seed: int) -> None:
        self._shards, self._roles, self._parts = shards, roles, parts
        decimal = shards.format.decimal
        names = [name for name in shards.columns if name not in roles.not_learnt_from]
        room = ROOM // max(len(names), 1)
        types = [ColumnType(name, decimal, is_category=name in roles.categorical) for name in names]
        self._fitters = [ColumnFitter(type, Levels(room)) for type in types]
        self._targets = TargetEncoder(roles.target, decimal)
        self._weights = None if roles.weight is None else Weights(roles.weight, decimal)
        self._weight = 0.0  # of the training rows
        self._counts = np.zeros((DROPPED + 1, 0), np.int64)  # of each part, and of none, and text of the target
        self._sample = RowSample(EDGE_ROWS, seed, OF_SAMPLE)

    def run(self, on_rows: Callable[[int], object]) -> TableScan:
        """Read all rows; `on_rows` is called with the number of rows of each batch.

        Raises:
            InputError: as `read_dataset`, and for a value that is not of its column's kind.
        """
        special = {self._roles.weight, *self._parts.names}  # also where they are not to be learnt from
        wanted = [name for name in self._shards.columns if name in special or name not in self._roles.exclude]
        with ThreadPoolExecutor(os.cpu_count() or 1, "column") as threads:
            for batch in self._shards.batches(wanted, "as in the first shard"):
                self._add(batch, threads)
                on_rows(len(batch))
        return self._scan()

    def _add(self, batch: TableBatch, threads: Executor) -> None:
        frame, rows = batch.frame, batch.rows
        codes = self._targets.codes(frame[self._roles.target], rows)
        parts = self._parts.of(batch)
        train = parts == TRAIN
        weight = None if self._weights is None else self._weights.of(batch)
        self._count(codes, parts)
        mine = None if weight is None else weight[train]
        self._weight += float(train.sum()) if mine is None else float(mine.sum())
        places, keys = self._sample.chosen(batch.first + np.arange(len(batch)), train)

        def add(fitter: ColumnFitter) -> pl.Series:
            values = fitter.type.read(frame[fitter.type.name], rows)
            fitter.add(values, train, mine, rows)
            chosen = values.alias("values").gather(places)  # methods go wrong where a name looks like a pattern
            return (missing_as_null(chosen) if chosen.dtype == pl.String else chosen).alias(values.name)

        series = list(threads.map(add, self._fitters))
        series.append(pl.Series(ANSWER, codes[places]))
        if weight is not None:
            series.append(pl.Series(WEIGHT, weight[places]))
        self._sample.add(pl.DataFrame(series), keys)

    def _count(self, codes: np.ndarray, parts: np.ndarray) -> None:
        texts = max(self._counts.shape[1], int(codes.max(initial=0)) + 1)
        grown = np.zeros((DROPPED + 1, texts), np.int64)
        grown[:, : self._counts.shape[1]] = self._counts
        added = np.bincount(parts.astype(np.int64) * texts + codes, minlength=grown.size)
        self._counts = grown + added.reshape(grown.shape)

    def _scan(self) -> TableScan:
        name, roles = self._shards.name, self._roles
        target = self._targets.target(roles.positive, name)
        ones = self._targets.ones(target, name).astype(bool)
        counts = np.stack([self._counts[:DROPPED, ~ones].sum(1), self._counts[:DROPPED, ones].sum(1)], 1)
        self._require_classes(counts)
        types = {fitter.type.name: fitter.kind() for fitter in self._fitters}
        usable, left_out = usable_columns(types, roles, name)
        used = [fitter for fitter in self._fitters if fitter.type.name in usable]
        encoder = Encoder(used, [column for fitter in used for column in fitter.encoders(usable[fitter.type.name])])
        sample = self._sample.frame()
        rows = filled(encoder.rows(sample, FileRows(name)))
        mean_weight = self._weight / counts[TRAIN].sum()
        if not mean_weight:
            raise InputError(f"{name}: all weights of rows to learn from in {roles.weight!r} are 0; no row would count")
        weight = None if self._weights is None else sample[WEIGHT].to_numpy() / mean_weight
        inputs = inputs_of(encoder.columns).values()
        stand_ins = StandIns(background(rows, inputs, weight), inputs, number_count(encoder.columns))
        return TableScan(
            kinds=usable,
            left_out=left_out,
            notes=[note for fitter in self._fitters for note in fitter.type.notes],
            encoder=encoder,
            rows=RowEncoder(encoder, self._targets, target, self._weights, mean_weight, self._parts.of, stand_ins),
            target=target,
            counts=counts,
            dropped=int(self._counts[DROPPED].sum()),
            sample=rows,
            sample_answers=ones[sample[ANSWER].to_numpy()].astype(np.float32),
            sample_weight=weight,
        )

    def _require_classes(self, counts: np.ndarray) -> None:
        for part, of_part in enumerate(counts):
            if part != TEST or of_part.any():  # there need be no test
                require_of_each_class(
                    of_part, f"{self._shards.name}, {NAMES[part]} rows", FEWEST if part == TRAIN else 1
                )
