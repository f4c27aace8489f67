"""Prepare files of any size for training: read them once to learn what is in them, once to pack them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchbce.common.errors import InputError
from torchbce.io.files import refuse_missing_columns
from torchbce.io.folder_keys import keys_of
from torchbce.io.shards import Shards, open_shards
from torchbce.io.source import Format
from torchbce.table.columns.columns import FittedColumn, number_count
from torchbce.table.columns.requirements import require_of_each_class
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.network.bins import EDGE_ROWS, quantile_bin_edges
from torchbce.table.packed.bounds import Bounds
from torchbce.table.packed.cache import UnusableCache, new_cache, read_description, write_description
from torchbce.table.packed.description import FORMAT, CacheFile, EncodedSample
from torchbce.table.packed.fingerprint import fingerprint
from torchbce.table.packed.fit_pass import FitPass
from torchbce.table.packed.pack import Packer
from torchbce.table.packed.pieces import Pieces
from torchbce.table.packed.stored import Stored
from torchbce.table.splits.holdout import Holdout
from torchbce.table.splits.parts import NAMES, TEST, SplitFractions
from torchbce.table.splits.row_parts import NOTHING, RowParts, scan_times_and_groups
from torchbce.table.splits.straddling import left_out, left_out_of_test, none_apart

OnRows = Callable[[int, int | None], object]


@dataclass(frozen=True)
class Stream:
    """A table that is ready to be trained on, part by part. reused: the cache was there before.

    The weights of the sample are such that their mean over the training rows is 1.
    """

    described: CacheFile
    sample: EncodedSample
    train: Stored
    valid: Stored
    test: Stored | None
    notes: list[str]
    reused: bool

    @property
    def columns(self) -> list[FittedColumn]:
        return list(self.described.columns)


def prepare_stream(
    names: list[str],
    roles: ColumnRoles,
    held: Holdout,
    *,
    seed: int,
    pieces: int,
    format: Format | None,
    folder: Path,
    on_rows: OnRows | None,
) -> Stream:
    """Pack files, patterns and folders of shards to the cache in `folder`, or reuse that cache if it was made of them.

    The folder of the cache appears whole or not at all; one made of anything else is replaced. Which part a row is in
    depends on the seed and its number (or its group's text) alone; with times, on the times. `on_rows` is called
    with the rows read so far and the rows to read, each row once in every pass.

    Raises:
        InputError: as `read_dataset`; also a value that contradicts the rows before it, with shard and row.
        OutputError: the cache cannot be written; the message says how many bytes are needed.
    """
    if held.folds is not None:
        raise InputError(
            "cross-validation (--folds) needs the table in memory; keep rows aside with --test-share or --test"
        )
    roles.require_apart(names[0])
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(open_shards(names, format))
        aside = None if held.file is None else stack.enter_context(open_shards([held.file], format))
        options = _options(roles, held, table, seed, pieces)
        sources = [table, *([] if aside is None else [aside])]
        print_ = fingerprint(
            [path for shards in sources for path in shards.files], options, complete=all(s.is_lasting for s in sources)
        )
        cached, damage = _reusable(folder, print_)
        if cached is not None:
            return _stream(folder, *cached, reused=True, notes=[])
        with new_cache(folder) as draft:
            described, sample = _made(draft, folder, table, aside, roles, held, seed, pieces, print_, options, on_rows)
            write_description(draft, described, sample)
    return _stream(folder, described, sample, reused=False, notes=damage)


def _options(roles: ColumnRoles, held: Holdout, table: Shards, seed: int, pieces: int) -> dict[str, Any]:
    """Return all that a cache depends on besides the files."""
    given = {**dataclasses.asdict(roles), **dataclasses.asdict(table.format)}
    given |= {f"held_{name}": value for name, value in dataclasses.asdict(held).items()}
    keys = [str(dict(keys_of(name))) for name in table.names]
    given |= {"keys": keys} if any(map(keys_of, table.names)) else {}
    return given | {"seed": seed, "pieces": pieces, "format_version": FORMAT, "edge_rows": EDGE_ROWS}


def _reusable(folder: Path, print_: str) -> tuple[tuple[CacheFile, EncodedSample] | None, list[str]]:
    """Return the cache in `folder` if its fingerprint is the same, and notes on why it cannot be used."""
    try:
        return read_description(folder, print_), []
    except UnusableCache as reason:
        return None, [f"the cache {folder} has been made anew, as it could not be used again: {reason}"]


def _made(
    draft: Path,
    folder: Path,
    table: Shards,
    aside: Shards | None,
    roles: ColumnRoles,
    held: Holdout,
    seed: int,
    pieces: int,
    print_: str,
    options: dict[str, Any],
    on_rows: OnRows | None,
) -> tuple[CacheFile, EncodedSample]:
    for columns, flag in roles.flags:
        refuse_missing_columns([name for name in columns if name not in table.columns], table.columns, table.name, flag)
    fractions = SplitFractions.of(held, table.rows)
    looks = roles.time is not None or (roles.group is not None and aside is not None)
    heard = _Heard(on_rows, (2 + looks) * table.rows + (0 if aside is None else aside.rows))
    times_and_groups = NOTHING
    if looks:
        times_and_groups = scan_times_and_groups(table, roles, fractions, seed=seed, size=EDGE_ROWS, on_rows=heard)
    parts = RowParts(roles, fractions, seed, table.format.decimal, times_and_groups)
    scan = FitPass(table, roles, parts, seed).run(heard)
    edges = quantile_bin_edges(scan.sample[:, : number_count(scan.columns)], pieces) if pieces else []
    cut = Pieces(edges, number_count(scan.columns))
    layout = Bounds.of(scan.columns, edges).layout(weighted=roles.weight is not None)
    expected = [*scan.counts.sum(1).tolist(), *([] if aside is None else [aside.rows])]
    with Packer(draft, folder, cut, layout, expected) as packer:
        packer.add(table.batches([*scan.rows.names, *parts.names], "as before"), scan.rows, heard)
        if aside is not None:
            tested = scan.rows.with_parts(parts.of_test)
            seen = packer.add(aside.batches([*tested.names, *parts.names], f"as in {table.name}"), tested, heard)
        written = packer.finish()
    for name, part in written.items():
        if not part.weight:
            raise InputError(f"{table.name}, {name} rows: all weights in {roles.weight!r} are 0; no row would count")
    dropped = left_out(scan.dropped)
    if aside is not None:
        if NAMES[TEST] not in written:
            raise InputError(none_apart(aside.name, table.name))
        test = written[NAMES[TEST]]
        dropped += left_out_of_test(seen - test.rows, Path(aside.name).name)
        require_of_each_class(np.array([test.rows - test.ones, test.ones]), f"{aside.name}, test rows", 1)
    described = CacheFile(
        fingerprint=print_,
        name=table.name,
        options=options,
        target=scan.target,
        kinds=scan.kinds,
        left_out=scan.left_out,
        notes=scan.notes,
        dropped=dropped,
        columns=scan.columns,
        layout=layout,
        parts=written,
        edges=len(edges),
        tensors="",
    )
    return described, EncodedSample(edges, scan.sample, scan.sample_answers, scan.sample_weight)


class _Heard:
    """Count the rows of all passes for a callback."""

    def __init__(self, on_rows: OnRows | None, total: int) -> None:
        self._on_rows, self._total, self._done = on_rows, total, 0

    def __call__(self, rows: int) -> None:
        self._done += rows
        if self._on_rows is not None:
            self._on_rows(self._done, max(self._total, self._done))


def _stream(folder: Path, described: CacheFile, sample: EncodedSample, *, reused: bool, notes: list[str]) -> Stream:
    bounds = Bounds.of(described.columns, sample.edges)
    train, valid, test = (
        Stored(folder, described.parts[name], described.layout, bounds) if name in described.parts else None
        for name in NAMES
    )
    assert train is not None
    assert valid is not None
    return Stream(described, sample, train, valid, test, described.notes + notes, reused)
