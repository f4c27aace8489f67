"""From a table larger than memory to a trained model: pack, learn, estimate; the same outcome as of one in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchbce.common import processes
from torchbce.common.signals import look
from torchbce.io.scan import expand_names
from torchbce.io.source import Format
from torchbce.table import baselines
from torchbce.table.columns.matrix import digest
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble.block_fit import StreamFitted, fit_stream, stream_recipe
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.recipe import PIECES, Choices, Recipe
from torchbce.table.estimate import Estimate
from torchbce.table.importance import ROWS, WORTH, importances, rises, rows_seen
from torchbce.table.model import FEWEST_OF_A_CLASS, Learnt, Model
from torchbce.table.outcome import Outcome, Outline
from torchbce.table.packed.decoded import decoded
from torchbce.table.packed.fingerprint import sampled
from torchbce.table.packed.prepare import Stream, prepare_stream
from torchbce.table.packed.stored import Stored
from torchbce.table.splits.holdout import Holdout


@dataclass(frozen=True)
class StreamTask:
    """A table that is packed: all that is known before training."""

    stream: Stream
    test_file: str | None

    @property
    def digests(self) -> dict[str, str]:
        """Of all that was read."""
        return {self.outline.name: self.stream.fingerprint}

    @property
    def known(self) -> dict[str, object]:
        """What has to be the same in all processes, besides the options."""
        stream = self.stream
        parts = {"learnt from": stream.train, "judged by": stream.valid, "kept aside": stream.test}
        contents = {f"the content of the rows {what}": part.digest for what, part in parts.items() if part is not None}
        sample = digest(stream.sample, stream.sample_answers, *stream.edges)
        return {**self.outline.known, **contents, "the content of the sample of rows": sample}

    def recipe(self, choices: Choices) -> Recipe:
        """What is trained."""
        return stream_recipe(len(self.stream.train), choices)

    @property
    def outline(self) -> Outline:
        stream, test = self.stream, self.stream.test
        inside = [stream.train, stream.valid, *([test] if test is not None and self.test_file is None else [])]
        counted = stream.train if test is None else test
        weight = sum(part.weight for part in inside)
        return Outline(
            name=Path(stream.name).name,
            rows=sum(map(len, inside)),
            base_rate=sum(part.share * part.weight for part in inside) / weight,
            kinds=stream.kinds,
            target=stream.target,
            left_out=stream.left_out,
            notes=stream.notes,
            train_rows=len(stream.train) + len(stream.valid),
            train_base_rate=stream.train.share,
            test_rows=None if test is None else len(test),
            test_file=self.test_file,
            folds=0,
            rarer=min(counted.ones, len(counted) - counted.ones),
            dropped=stream.dropped,
        )


def prepare(
    names: list[str],
    roles: ColumnRoles,
    held: Holdout,
    *,
    seed: int,
    format: Format | None,
    cache: Path,
    on_rows: Callable[[int, int | None], object] | None,
) -> StreamTask:
    """Pack the table, by the first process if there are several, all of which see the same; see `prepare_stream`."""

    def pack() -> Stream:
        return prepare_stream(names, roles, held, seed=seed, pieces=PIECES, format=format, place=cache, on_rows=on_rows)

    if processes.world_size() > 1:
        given = {"table": names} | ({} if held.file is None else {"test table": [held.file]})
        seen = processes.in_all(lambda: {what: sampled(expand_names(some)) for what, some in given.items()})
        processes.require_same({f"the content of the {what}": content for what, content in seen.items()})
    return StreamTask(processes.first_then_rest(pack), None if held.file is None else Path(held.file).name)


def train(task: StreamTask, choices: Choices, *, seed: int, watch: Watch | None = None) -> Outcome:
    """Train on a packed table.

    Raises:
        InputError: a loss that is not finite.
    """
    stream = task.stream
    chosen = task.recipe(choices)
    rare = min(stream.valid.ones, len(stream.valid) - stream.valid.ones)
    found = fit_stream(stream, chosen, seed=seed, watch=watch, judge=rare >= FEWEST_OF_A_CLASS)
    learnt = Learnt(Model(stream.columns, found.fitted.ensemble), chosen, found.fitted, {})
    return Outcome(
        outline=task.outline,
        learnt=learnt,
        estimate=None if stream.test is None else _estimate(stream, stream.test, learnt, found, seed, watch or Watch()),
        train_bce=found.train_bce,
        some=stream.sample,
        seed=seed,
        reading=found.reading,
    )


def _estimate(stream: Stream, test: Stored, learnt: Learnt, found: StreamFitted, seed: int, watch: Watch) -> Estimate:
    """On the test rows; logistic regression learns from the sample of the training rows."""
    network = learnt.model.ensemble.networks[0]
    watch.begin(baselines.LOGISTIC)
    logistic = baselines.logistic(stream.sample, stream.sample_answers, stream.sample_weight, stream.columns)
    some = np.sort(np.random.default_rng(seed).permutation(len(test))[: rows_seen(learnt.model, ROWS)])
    parts, looked, first = [], [], 0
    for window in test.in_order():
        look()
        size = len(window.numbers)
        weight = None if window.rows.weight is None else window.rows.weight.double().numpy()
        encoded = decoded(window.rows, network)
        parts.append((window.numbers.copy(), window.rows.target.numpy().astype(np.uint8), weight, logistic(encoded)))
        here = some[(some >= first) & (some < first + size)] - first
        seen_weight = np.ones(len(here)) if weight is None else weight[here]
        looked.append((encoded[here], window.rows.target.numpy()[here].astype(np.uint8), seen_weight))
        first += size
    rows, answers, weights, linear = zip(*parts, strict=True)
    seen, seen_answers, seen_weights = (np.concatenate(part) for part in zip(*looked, strict=True))
    watch.begin(WORTH)
    base = np.log(stream.train.share / (1 - stream.train.share))
    return Estimate(
        rows=np.concatenate(rows),
        folds=np.zeros(len(test), np.int64),
        logits=np.zeros(0) if found.test_logits is None else found.test_logits,
        answers=np.concatenate(answers),
        weight=None if weights[0] is None else np.concatenate(weights),
        groups=None,
        others={baselines.BASE_RATE: np.full(len(test), base), baselines.LOGISTIC: np.concatenate(linear)},
        importances=importances([rises(learnt.model, seen, seen_answers, seed)], [seen_weights]),
    )
