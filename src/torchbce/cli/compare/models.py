"""The models that are compared: a file and its columns for each, read together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from torchbce.cli.compare.options import CompareOptions
from torchbce.cli.shared.predictions import file_of, outputs_of
from torchbce.cli.shared.values import given, refuse_with
from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.io.paired import PredictionFile, read_paired
from torchbce.io.predictions import PredictionBatch, PredictionColumns
from torchbce.io.row_order import check_same_order
from torchbce.io.scan import open_sources

RUN_KEY = "row"  # of a run's predictions: the number of the row in the table


@dataclass(frozen=True)
class ModelColumns:
    """Where the predictions of one model are."""

    name: str
    file: str
    columns: PredictionColumns


def models_of(options: CompareOptions) -> tuple[list[ModelColumns], str | None]:
    """Return the models, several in one file or one in each, and the column that joins the files."""
    outputs = [(name, False) for name in options.probs] + [(name, True) for name in options.logits]
    if len(set(outputs)) < len(outputs) or len(set(options.files)) < len(options.files):
        raise typer.BadParameter("a column or a file is named twice; a model is no different from itself")
    if len(options.files) == 1:
        if len(outputs) < 2:
            raise typer.BadParameter("one file takes two models or more: --prob A --prob B, or --logit A --logit B")
        file, _ = file_of(options.files[0])
        return [
            ModelColumns(name, file, options.columns(options.target, name, logits, by=options.by))
            for name, logits in outputs
        ], None
    if len(options.probs) > 1 or len(options.logits) > 1:
        raise typer.BadParameter("several columns of outputs belong to one file; several files have one column each")
    names = [Path(name).stem for name in options.files]
    if len(set(names)) < len(names):
        names = options.files
    of_runs = all(Path(name).is_dir() for name in options.files)
    if of_runs:
        flags = given({"--prob": options.probs, "--logit": options.logits})
        refuse_with("a comparison of run folders", flags, "the logits of their predictions are compared")
    prob, logit = next(iter(options.probs), None), next(iter(options.logits), None)
    models = []
    for name, argument in zip(names, options.files, strict=True):
        file, is_run = file_of(argument)
        own = ("logit", True) if is_run else outputs_of(prob, logit, of_run=False)
        models.append(ModelColumns(name, file, options.columns(options.target, *own, by=options.by)))
    return models, options.key or (RUN_KEY if of_runs else None)


@contextlib.contextmanager
def opened(options: CompareOptions, models: list[ModelColumns]) -> Iterator[list[list[PredictionFile]]]:
    """Open the files of all models, shard by shard; there is one shard where each model has one file."""
    with contextlib.ExitStack() as stack:
        by_file = {
            file: stack.enter_context(open_sources([file], options.format))
            for file in dict.fromkeys(model.file for model in models)
        }
        lists = [by_file[model.file] for model in models]
        if len({len(files) for files in lists}) > 1:
            counts = " and ".join(
                f"{model.file} for {len(files)} files" for model, files in zip(models, lists, strict=True)
            )
            raise InputError(f"{counts}: each file of one takes its match of the other")
        yield [
            [PredictionFile(source, model.columns) for source, model in zip(files, models, strict=True)]
            for files in zip(*lists, strict=True)
        ]


def batches_of_all(shards: list[list[PredictionFile]], key: str | None) -> Iterator[tuple[str, list[PredictionBatch]]]:
    """Yield the batches of all models, each with the name of the first model's file."""
    for models in shards:
        if key is None and not rank_and_size()[0]:
            check_same_order(models)
        for batches in read_paired(models, key, (0, 1) if key else rank_and_size()):
            yield models[0].source.name, batches
