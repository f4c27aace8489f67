"""A table that is larger than memory: packed on disk, trained on and evaluated window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchbce.common import processes
from torchbce.io.scan import expand_names
from torchbce.table import baselines
from torchbce.table.columns.matrix import digest
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.block_fit import fit_blocks
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import PIECES, EnsembleConfig, UserOptions, block_config
from torchbce.table.estimate import Estimate
from torchbce.table.evaluate import Part, evaluate
from torchbce.table.importance import ROWS
from torchbce.table.model import FEWEST_OF_A_CLASS, Model, TrainedModel
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.outcome import Outline, RowCounts
from torchbce.table.packed.decoded import decoded
from torchbce.table.packed.fingerprint import sampled
from torchbce.table.packed.prepare import OnRows, Stream, prepare_stream
from torchbce.table.packed.stored import Stored
from torchbce.table.task import Fit, OnFold, Task
from torchbce.table.train_args import TrainArgs


@dataclass(frozen=True)
class PackedTable:
    """Packed training, validation and test rows."""

    stream: Stream

    def config(self, options: UserOptions) -> EnsembleConfig:
        return block_config(len(self.stream.train), options)

    def cross_validate(self, args: TrainArgs, on_fold: OnFold | None, callbacks: Callbacks) -> Estimate | None:
        return None  # it needs the table in memory

    def fit(self, args: TrainArgs, callbacks: Callbacks) -> Fit:
        stream, sample, config = self.stream, self.stream.sample, self.config(args.options)
        enough = _counts(stream.valid).rarer >= FEWEST_OF_A_CLASS
        blocks = fit_blocks(stream, config, seed=args.seed, callbacks=callbacks, enough=enough)
        trained = TrainedModel(Model(stream.columns, blocks.fitted.ensemble), config, blocks.fitted, {})
        training = EncodedTable(stream.columns, sample.rows, sample.answers, sample.weight)
        return Fit(trained, blocks.train_bce, training, sample.rows, blocks.test_logits, blocks.reading)

    def evaluate(self, fit: Fit, args: TrainArgs, callbacks: Callbacks) -> Estimate | None:
        """Estimate on the test rows; logistic regression learns from the sample of the training rows."""
        test, model = self.stream.test, fit.trained.model
        if test is None or fit.test_logits is None:
            return None
        others = {
            baselines.BASE_RATE: lambda: baselines.base_rate(self.stream.train.share),
            baselines.LOGISTIC: lambda: baselines.logistic_regression(fit.training),
        }
        parts = _decoded(test, fit.training, model.ensemble.networks[0])
        return evaluate(
            model, fit.test_logits, parts, others, seed=args.seed, most=ROWS, callbacks=callbacks
        ).with_importances()


def _decoded(stored: Stored, training: EncodedTable, network: TableNetwork) -> Iterator[Part]:
    """Yield packed rows window by window, as they were encoded."""
    for window in stored.in_order():
        weight = None if window.rows.weight is None else window.rows.weight.double().numpy()
        answers = window.rows.target.numpy().astype(np.uint8)
        yield window.numbers.copy(), EncodedTable(training.columns, decoded(window.rows, network), answers, weight)


def prepare(args: TrainArgs, cache: Path, on_rows: OnRows | None = None) -> Task:
    """Pack the table, in the first process if there are several with the same files; see `prepare_stream`."""

    def pack() -> Stream:
        return prepare_stream(
            [args.table],
            args.roles,
            args.held,
            seed=args.seed,
            pieces=PIECES,
            format=args.format,
            folder=cache,
            on_rows=on_rows,
        )

    if processes.world_size() > 1:
        given = dict(zip(("table", "test table"), args.tables, strict=False))
        seen = processes.in_all(lambda: {what: sampled(expand_names([file])) for what, file in given.items()})
        processes.require_same({f"the content of the {what}": content for what, content in seen.items()})
    return _task(processes.first_then_rest(pack), args.held.file)


def _task(stream: Stream, test_file: str | None) -> Task:
    described, sample, train, valid, test = stream.described, stream.sample, stream.train, stream.valid, stream.test
    inside = [train, valid, *([test] if test is not None and test_file is None else [])]
    base_rate = sum(part.share * part.weight for part in inside) / sum(part.weight for part in inside)
    outline = Outline(
        name=Path(described.name).name,
        target=described.target,
        kinds=described.kinds,
        left_out=described.left_out,
        notes=stream.notes,
        whole=RowCounts(sum(map(len, inside)), sum(part.ones for part in inside), base_rate),
        train=_counts(train),
        train_rows=len(train) + len(valid),
        test=None if test is None else _counts(test),
        test_file=None if test_file is None else Path(test_file).name,
        folds=0,
        dropped=described.dropped,
    )
    parts = {"learnt from": train, "judged by": valid, "kept aside": test}
    known = {
        **outline.known,
        **{f"the content of the rows {what}": part.digest for what, part in parts.items() if part is not None},
        "the content of the sample of rows": digest(sample.rows, sample.answers, *sample.edges),
    }
    return Task(PackedTable(stream), outline, {outline.name: described.fingerprint}, known)


def _counts(stored: Stored) -> RowCounts:
    return RowCounts(len(stored), stored.ones, stored.share)
