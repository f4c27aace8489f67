"""A run on disk: model.safetensors, model.json, predictions.parquet, history.csv and report.html.

A run folder appears whole or not at all: everything is written to a hidden folder beside it, then renamed. Nothing in
it is executed when it is read: weights are safetensors, the rest is JSON that must match the model below, and the sizes
in the JSON are compared with those of the weights before any memory is taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from torchbce.errors import OutputError, RunFolderError
from torchbce.trainer.network import NetworkSpec, TableNetwork
from torchbce.trainer.table.columns import CategoricalColumn, Column, NumericColumn
from torchbce.trainer.table.target import Target

MODEL_FILE, WEIGHTS_FILE = "model.json", "model.safetensors"
PREDICTIONS_FILE, HISTORY_FILE, REPORT_FILE = "predictions.parquet", "history.csv", "report.html"
MAX_MODEL_BYTES = 64 * 2**20  # of model.json; a thousand columns of a thousand levels fit


class ModelCard(BaseModel):
    """All of a trained model but its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["torchbce-table-1"] = "torchbce-table-1"
    source: str
    target: Target
    columns: list[Column] = Field(max_length=100_000)
    left_out: dict[str, str]
    network: NetworkSpec
    training: dict[str, str | int | float | None]
    result: dict[str, float | int | None]
    versions: dict[str, str]


def next_free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3 ... that does not exist: no run is ever overwritten."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate


@contextlib.contextmanager
def new_run_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write into, renamed to `folder` at the end; removed if anything goes wrong on the way."""
    if folder.exists():
        raise OutputError(f"{folder} exists already; name another folder with --out, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield draft
        mask = _umask()
        draft.chmod(0o777 & ~mask)
        for path in draft.iterdir():  # safetensors writes files that only their owner may read
            path.chmod(0o666 & ~mask)
        os.rename(draft, folder)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}; nothing was kept") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def save_model(draft: Path, card: ModelCard, network: TableNetwork) -> None:
    """model.json and model.safetensors."""
    (draft / MODEL_FILE).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    try:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, draft / WEIGHTS_FILE)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(f"{WEIGHTS_FILE}: {error}") from error


def load_model(folder: Path) -> tuple[ModelCard, TableNetwork]:
    """The card and the network of a run; raises `RunFolderError` for anything but a whole, honest run folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RunFolderError(f"{folder} {what}; expected a folder that `torchbce train` wrote")
    for name in (MODEL_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise RunFolderError(f"{folder} is not a run folder: it has no {name}")
    card = _load_card(folder / MODEL_FILE)
    network = _load_weights(folder / WEIGHTS_FILE, card)
    return card, network


def _load_card(path: Path) -> ModelCard:
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise RunFolderError(f"{path} is larger than {MAX_MODEL_BYTES >> 20} MiB; it was not written by torchbce")
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise RunFolderError(f"{path} is damaged: {place}: {first['msg']}; train again") from error
    numbers = sum(1 + column.gaps for column in card.columns if isinstance(column, NumericColumn))
    levels = [len(column.levels) + 1 for column in card.columns if isinstance(column, CategoricalColumn)]
    if (numbers, levels) != (card.network.numbers, card.network.levels):
        raise RunFolderError(f"{path} is damaged: its columns and its network do not fit each other; train again")
    return card


def _load_weights(path: Path, card: ModelCard) -> TableNetwork:
    with torch.device("meta"):  # sizes without memory
        network = TableNetwork(card.network)
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
        if found == expected:
            network.load_state_dict(load_file(path), assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}; train again") from error
    for name in expected.keys() | found.keys():
        if found.get(name) != expected.get(name):
            raise RunFolderError(
                f"{path} does not fit {MODEL_FILE}: {name} has the shape {found.get(name)}, expected "
                f"{expected.get(name)}; train again"
            )
    strange = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if strange:
        raise RunFolderError(f"{path} is damaged: {strange[0]} holds values that are not finite; train again")
    return network.float().eval()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
