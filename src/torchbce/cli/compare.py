"""`torchbce compare`: models on the same items, or one model in several periods."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from torchbce.cli.files_out import check_made, writing
from torchbce.cli.output import say
from torchbce.cli.predictions import file_of, only_of, outputs_of
from torchbce.cli.shards import merged_files, of_all_processes
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.comparison.compare import comparison
from torchbce.comparison.file import from_bytes, to_bytes
from torchbce.comparison.pairs import Pairs
from torchbce.comparison.ranking import LossMatrix
from torchbce.io.files import write_bytes
from torchbce.io.paired import PredictionFile, read_paired
from torchbce.io.predictions import PredictionBatch, PredictionColumns, as_texts
from torchbce.io.row_order import check_same_order
from torchbce.io.scan import open_sources, read_batches
from torchbce.io.source import Format, SourceFile

RUN_KEY = "row"  # of a run's predictions: the number of the row in the table


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    files: list[str]
    target: str
    probs: list[str]
    logits: list[str]
    key: str | None
    weight: str | None
    by: str | None
    cluster: str | None
    only: str | None
    merge: bool
    save: Path | None
    html: Path | None
    form: str  # "text", "json" or "markdown"
    format: Format


@dataclass(frozen=True)
class Chosen:
    """The predictions of one model."""

    name: str
    file: str
    columns: PredictionColumns


def run(asked: Asked) -> None:
    """Print the comparison."""
    check_made({"--save": asked.save, "--html": asked.html}, asked.files)
    if asked.merge:
        _print_pair(asked, lambda: merged_files(asked.files, from_bytes))
        return
    chosen, key = _chosen(asked)
    if len(chosen) > 2:
        _print_ranking(asked, chosen, key)
    else:
        _print_pair(asked, lambda: _pairs(asked, chosen, key))


def _print_pair(asked: Asked, read: Callable[[], Pairs]) -> None:
    whole = of_all_processes(read, to_bytes, from_bytes)
    if whole is None:
        return  # the first process speaks for all
    if asked.save is not None:
        write_bytes(asked.save, to_bytes(whole))
    try:
        found = comparison(whole)
    except ValueError as error:
        raise InputError(str(error)) from error
    if asked.html is not None:
        with writing(asked.html):
            found.to_html(asked.html)
    _say(found, asked.form)


def _print_ranking(asked: Asked, chosen: list[Chosen], key: str | None) -> None:
    refused = {"--by": asked.by, "--save": asked.save, "--html": asked.html, "--markdown": asked.form == "markdown"}
    given = [flag for flag, value in refused.items() if value]
    if given or rank_and_size()[1] > 1:
        raise typer.BadParameter(f"{' and '.join(given) or 'torchrun'} takes two models; there are {len(chosen)}")
    matrix = LossMatrix(tuple(one.columns.from_logits for one in chosen))
    with _opened(asked, chosen) as shards:
        for _, made in _together(shards, key):
            first = made[0]
            matrix.add([batch.outputs for batch in made], first.targets, first.weights, first.clusters)
    _say(matrix.ranking([one.name for one in chosen]), asked.form)


def _say(found: Any, form: str) -> None:
    if form == "json":
        say(json.dumps(found.to_dict(), indent=1))
    else:
        say(found.to_markdown() if form == "markdown" else found)


def _chosen(asked: Asked) -> tuple[list[Chosen], str | None]:
    """For each model a file and its columns, several of one file or one of each file; and what joins the files."""
    outputs = [(name, False) for name in asked.probs] + [(name, True) for name in asked.logits]

    def columns(name: str, from_logits: bool) -> PredictionColumns:
        only = only_of(asked.only)
        return PredictionColumns(name, asked.target, from_logits, asked.weight, asked.by, only, asked.cluster)

    if len(set(outputs)) < len(outputs) or len(set(asked.files)) < len(asked.files):
        raise typer.BadParameter("a column or a file is named twice; a model is no different from itself")
    if len(asked.files) == 1:
        if len(outputs) < 2:
            raise typer.BadParameter("one file takes two models or more: --prob A --prob B, or --logit A --logit B")
        file, _ = file_of(asked.files[0])
        return [Chosen(name, file, columns(name, logits)) for name, logits in outputs], None
    if len(asked.probs) > 1 or len(asked.logits) > 1:
        raise typer.BadParameter("several columns of outputs belong to one file; several files have one column each")
    names = [Path(name).stem for name in asked.files]
    if len(set(names)) < len(names):
        names = asked.files
    prob, logit = next(iter(asked.probs), None), next(iter(asked.logits), None)
    chosen, runs = [], []
    for name, given in zip(names, asked.files, strict=True):
        file, is_run = file_of(given)
        own = ("logit", True) if is_run else outputs_of(prob, logit, of_run=False)
        chosen.append(Chosen(name, file, columns(*own)))
        runs.append(is_run)
    return chosen, asked.key or (RUN_KEY if all(runs) else None)


@contextlib.contextmanager
def _opened(asked: Asked, chosen: list[Chosen]) -> Iterator[list[list[PredictionFile]]]:
    """All models of each shard; there is one shard where each model has one file."""
    with contextlib.ExitStack() as stack:
        found = {
            file: stack.enter_context(open_sources([file], asked.format))
            for file in dict.fromkeys(c.file for c in chosen)
        }
        lists = [found[one.file] for one in chosen]
        if len({len(files) for files in lists}) > 1:
            counts = " and ".join(
                f"{one.file} for {len(files)} files" for one, files in zip(chosen, lists, strict=True)
            )
            raise InputError(f"{counts}: each file of one takes its match of the other")
        yield [
            [PredictionFile(source, one.columns) for source, one in zip(files, chosen, strict=True)]
            for files in zip(*lists, strict=True)
        ]


def _together(shards: list[list[PredictionFile]], key: str | None) -> Iterator[tuple[str, list[PredictionBatch]]]:
    """The batches of all models, each with the name of the first one's file."""
    for models in shards:
        if key is None and not rank_and_size()[0]:
            check_same_order(models)
        for made in read_paired(models, key, (0, 1) if key else rank_and_size()):
            yield models[0].source.name, made


def _pairs(asked: Asked, chosen: list[Chosen], key: str | None) -> Pairs:
    a, b = chosen
    pairs = Pairs((a.columns.from_logits, b.columns.from_logits), (a.name, b.name))
    if key and rank_and_size()[0]:
        return pairs  # the first process joins
    with _opened(asked, chosen) as shards:
        for name, (first, second) in _together(shards, key):
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
            pairs.name_items(key, _key_values([models[0].source for models in shards], key, pairs.most_changed))
    return pairs


def _key_values(files: list[SourceFile], key: str, items: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The keys of these items, by source and row: which items changed most is known once all have been read."""
    found: dict[tuple[str, int], str] = {}
    for file in files:
        rows = np.array(sorted(row for name, row in items if name == file.name), np.int64)
        if not len(rows):
            continue
        for start, frame in read_batches(file, [key], f"--key {key}"):
            here = rows[(rows >= start) & (rows < start + frame.height)]
            values = as_texts(frame[key].gather(here - start), file)
            found |= {(file.name, row): value for row, value in zip(here.tolist(), values, strict=True)}
            if rows[-1] < start + frame.height:
                break
    return found
