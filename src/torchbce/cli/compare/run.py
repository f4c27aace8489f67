"""`torchbce compare`: models on the same items, or one model in several periods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import typer

from torchbce.cli.compare import periods
from torchbce.cli.compare.models import ModelColumns, batches_of_all, models_of, opened
from torchbce.cli.compare.options import CompareOptions
from torchbce.cli.shared.files_out import check_outputs
from torchbce.cli.shared.output import print_out
from torchbce.cli.shared.shards import merged_files, of_all_processes
from torchbce.cli.shared.values import given
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.common.writing import naming
from torchbce.comparison.compare import comparison
from torchbce.comparison.file import from_bytes, to_bytes
from torchbce.comparison.pairs import Pairs
from torchbce.comparison.ranking import LossMatrix
from torchbce.io.files import write_bytes
from torchbce.io.predictions import as_texts
from torchbce.io.scan import read_batches
from torchbce.io.source import SourceFile


def run(options: CompareOptions) -> None:
    """Print the comparison."""
    check_outputs({"--save": options.save, "--html": options.html}, options.files)
    if options.over_periods:
        periods.run(options)
        return
    if options.merge:
        _print_pair(options, lambda: merged_files(options.files, from_bytes))
        return
    models, key = models_of(options)
    if len(models) > 2:
        _print_ranking(options, models, key)
    else:
        _print_pair(options, lambda: _pairs(options, models, key))


def _print_pair(options: CompareOptions, read: Callable[[], Pairs]) -> None:
    whole = of_all_processes(read, to_bytes, from_bytes)
    if whole is None:
        return  # the first process prints for all
    if options.save is not None:
        write_bytes(options.save, to_bytes(whole))
    try:
        result = comparison(whole)
    except ValueError as error:
        raise InputError(str(error)) from error
    if options.html is not None:
        with naming(options.html):
            result.to_html(options.html)
    print_out(options.text_of(result))


def _print_ranking(options: CompareOptions, models: list[ModelColumns], key: str | None) -> None:
    of_two = {"--by": options.by, "--save": options.save, "--html": options.html, "--markdown": options.markdown}
    flags = given(of_two)
    if flags or rank_and_size()[1] > 1:
        raise typer.BadParameter(f"{' and '.join(flags) or 'torchrun'} takes two models; there are {len(models)}")
    matrix = LossMatrix(tuple(model.columns.from_logits for model in models))
    with opened(options, models) as shards:
        for _, parts in batches_of_all(shards, key):
            first = parts[0]
            matrix.add([batch.outputs for batch in parts], first.targets, first.weights, first.clusters)
    print_out(options.text_of(matrix.ranking([model.name for model in models])))


def _pairs(options: CompareOptions, models: list[ModelColumns], key: str | None) -> Pairs:
    a, b = models
    pairs = Pairs((a.columns.from_logits, b.columns.from_logits), (a.name, b.name))
    if key and rank_and_size()[0]:
        return pairs  # the first process joins
    with opened(options, models) as shards:
        for name, (first, second) in batches_of_all(shards, key):
            try:
                pairs.add(
                    (first.outputs, second.outputs),
                    first.targets,
                    first.weights,
                    rows=first.rows,
                    source=name,
                    groups=first.groups,
                    clusters=first.clusters,
                )
            except ValueError as error:
                raise InputError(f"{name}: {error}") from error
        if key is not None:
            pairs.name_items(key, _key_values([shard[0].source for shard in shards], key, pairs.most_changed))
    return pairs


def _key_values(files: list[SourceFile], key: str, items: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the keys of items by source and row: which changed most is known only when all have been read."""
    keys: dict[tuple[str, int], str] = {}
    for file in files:
        rows = np.array(sorted(row for name, row in items if name == file.name), np.int64)
        if not len(rows):
            continue
        for start, frame in read_batches(file, [key], f"--key {key}"):
            here = rows[(rows >= start) & (rows < start + frame.height)]
            values = as_texts(frame[key].gather(here - start), file)
            keys |= {(file.name, row): value for row, value in zip(here.tolist(), values, strict=True)}
            if rows[-1] < start + frame.height:
                break
    return keys
