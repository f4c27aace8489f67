"""A run on disk: model.safetensors, model.json, predictions.parquet and history.csv; report.html and MODEL_CARD.md.

The first four appear together or not at all (see `reservation`); the pages for people come after, each whole (see
`write`). Nothing in a run folder is executed when it is read: weights are safetensors, the rest is JSON that must match
the model below, and the sizes in the JSON are compared with those of the weights before any memory is taken. The JSON
holds digests of the weights, of the predictions and of itself, so that no flipped bit gives other predictions in
silence.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from torchbce.common.errors import RunFolderError
from torchbce.common.writing import is_utf8
from torchbce.table.columns.background import COUNT
from torchbce.table.columns.columns import Column, check_names, levels_of, number_count
from torchbce.table.columns.target import Target
from torchbce.table.ensemble.calibration import Scaling
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.model import Model
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.trees.boosted import BoostedTrees, TreesSpec

MODEL_FILE, WEIGHTS_FILE = "model.json", "model.safetensors"
PREDICTIONS_FILE, HISTORY_FILE, REPORT_FILE = "predictions.parquet", "history.csv", "report.html"
CARD_FILE = "MODEL_CARD.md"
BACKGROUND = "background"  # the tensor of the values for unknown cells
MAX_MODEL_BYTES = 64 * 2**20  # of model.json; a thousand columns of a thousand levels fit
ELEMENTS = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32"}  # as safetensors calls them

ClassKind = Literal["text", "integer", "number", "boolean"]  # what the target's two values are


FORMATS = "torchbce-table-"
FORMAT: Literal["torchbce-table-6"] = "torchbce-table-6"  # rises with every field


class ModelFile(BaseModel):
    """All of a trained model but its weights; `network` is what each of its `members` is, `share` is the trees'."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["torchbce-table-6"]
    source: str
    target: Target
    classes: ClassKind = "text"
    columns: list[Column] = Field(max_length=100_000)
    left_out: dict[str, str]
    features: list[str] = Field(default=[], max_length=100_000)  # a classifier's columns in order, also unused ones
    network: NetworkSpec
    members: int = Field(ge=1, le=1024)
    trees: list[TreesSpec] = Field(max_length=1024)
    share: float = Field(ge=0, le=1)
    slope: float = Field(gt=0, allow_inf_nan=False)
    shift: float = Field(allow_inf_nan=False)
    training: dict[str, str | int | float | None]
    result: dict[str, float | int | None]
    versions: dict[str, str]
    sha256: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits(self) -> ModelFile:
        if self.target.positive == self.target.negative:
            raise ValueError("the target's two values are one")
        class_values(self.classes, [self.target.negative, self.target.positive])
        if len(set(self.features)) < len(self.features):
            raise ValueError("a feature repeats")
        check_names(self.columns)
        lacking = {column.name for column in self.columns} - set(self.features)
        if self.features and lacking:
            raise ValueError(f"the column {min(lacking)!r} is none of the features")
        return self


def class_values(kind: ClassKind, texts: list[str]) -> np.ndarray:
    """The target's values as they were before they were texts.

    Raises:
        ValueError: a text is none of such a value.
    """
    if kind == "integer":
        return np.array([int(text) for text in texts], dtype=np.int64)
    if kind == "number":
        return np.array([float(text) for text in texts])
    if kind == "boolean":
        return np.array([text.lower() == "true" for text in texts])
    return np.array(texts, dtype=object)


def describe(model: Model, **more: Any) -> ModelFile:
    """What is known of a model by itself, and `more` that its maker knows."""
    ensemble = model.ensemble
    return ModelFile(
        format=FORMAT,
        columns=model.columns,
        network=ensemble.networks[0].spec,
        members=len(ensemble.networks),
        trees=[trees.spec for trees in ensemble.trees],
        share=ensemble.tree_weight,
        slope=ensemble.scaling.slope,
        shift=ensemble.scaling.shift,
        versions={name: version(name) for name in ("torchbce", "torch", "polars", "numpy")}
        | {"python": platform.python_version()},
        **more,
    )


def save_model(draft: Path, described: ModelFile, ensemble: Ensemble) -> None:
    """model.safetensors and, with its digest and that of the predictions, if they are there, model.json."""
    try:
        assert ensemble.background is not None, "a model without values for unknown cells"
        values = torch.from_numpy(ensemble.background)
        save_file(_tensors(ensemble.networks, ensemble.trees, values), draft / WEIGHTS_FILE)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(f"{WEIGHTS_FILE}: {error}") from error
    names = (name for name in (WEIGHTS_FILE, PREDICTIONS_FILE) if (draft / name).exists())
    digests = {name: _digest(draft / name) for name in names}
    whole = described.model_copy(update={"sha256": digests})
    whole = whole.model_copy(update={"sha256": digests | {MODEL_FILE: _own_digest(whole)}})
    (draft / MODEL_FILE).write_text(whole.model_dump_json(indent=1), encoding="utf-8")


def _tensors(
    networks: list[TableNetwork], trees: list[BoostedTrees], background: torch.Tensor
) -> dict[str, torch.Tensor]:
    """By the kind and number of the member and the tensor's name; copies, as parameters are views of one tensor."""
    return {BACKGROUND: background} | {
        f"{kind}.{i}.{name}": tensor.clone()
        for kind, members in (("networks", networks), ("trees", trees))
        for i, member in enumerate(members)
        for name, tensor in member.state_dict().items()
    }


def check_predictions_file(folder: Path) -> Path:
    """The predictions of a run, once they are known to be those that were written."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        raise RunFolderError(f"{folder} has no {PREDICTIONS_FILE}; name a file, or a folder that train made")
    described = _load_described(_model_file(folder))
    if _digest(path) != described.sha256.get(PREDICTIONS_FILE):
        raise RunFolderError(f"{path} is damaged: it is not what training wrote; train again")
    return path


def described_run(folder: Path) -> ModelFile:
    """What a run's model is."""
    return _load_described(_model_file(folder))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_digest(described: ModelFile) -> str:
    """Of everything else in a model's description."""
    others = {name: digest for name, digest in described.sha256.items() if name != MODEL_FILE}
    return hashlib.sha256(described.model_copy(update={"sha256": others}).model_dump_json().encode()).hexdigest()


def _model_file(folder: Path) -> Path:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RunFolderError(f"{folder} {what}; expected a folder that `torchbce train` wrote")
    if not is_utf8(folder):
        raise RunFolderError(f"{folder} is no name in UTF-8, by which alone a model can be read; rename the folder")
    for name in (MODEL_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise RunFolderError(f"{folder} is not a run folder: it has no {name}")
    return folder / MODEL_FILE


def load_model(folder: Path) -> tuple[ModelFile, Model]:
    """What is known of a run's model, and the model; raises `RunFolderError` for anything but a whole run folder."""
    described = _load_described(_model_file(folder))
    if _digest(folder / WEIGHTS_FILE) != described.sha256.get(WEIGHTS_FILE):
        raise RunFolderError(f"{folder / WEIGHTS_FILE} is damaged: it is not what training wrote; train again")
    networks, trees, background = _load_weights(folder / WEIGHTS_FILE, described)
    scaling = Scaling(described.slope, described.shift)
    ensemble = Ensemble(networks, scaling, trees, described.share, background.numpy())
    return described, Model(described.columns, ensemble)


def _load_described(path: Path) -> ModelFile:
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise RunFolderError(f"{path} is larger than {MAX_MODEL_BYTES >> 20} MiB; it was not written by torchbce")
    try:
        found = ModelFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("format",) and str(first.get("input")).startswith(FORMATS):
            raise RunFolderError(
                f"{path} was written by another version of torchbce: its format is {first['input']}, and this one "
                f"reads {FORMAT}; load it with that version, or train again"
            ) from error
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise RunFolderError(f"{path} is damaged: {place}: {first['msg']}; train again") from error
    if found.sha256.get(MODEL_FILE) != _own_digest(found):
        raise RunFolderError(f"{path} is damaged or was edited: it is not what training wrote; train again")
    inputs = number_count(found.columns), levels_of(found.columns)
    taken = [(len(found.network.pieces), found.network.levels), *((one.numbers, one.levels) for one in found.trees)]
    if any(members != inputs for members in taken):
        raise RunFolderError(f"{path} is damaged: its columns and its network do not fit each other; train again")
    return found


def _load_weights(path: Path, described: ModelFile) -> tuple[list[TableNetwork], list[BoostedTrees], torch.Tensor]:
    with torch.device("meta"):  # sizes without memory
        networks = [TableNetwork(described.network) for _ in range(described.members)]
        trees = [BoostedTrees(spec) for spec in described.trees]
        levels = torch.tensor(levels_of(described.columns), device="cpu")
        background = torch.empty(COUNT, number_count(described.columns) + len(levels))
    expected = {name: (list(t.shape), ELEMENTS[t.dtype]) for name, t in _tensors(networks, trees, background).items()}
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            found = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
        weights = load_file(path) if found == expected else {}
    except (SafetensorError, OSError, RuntimeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}; train again") from error
    for name in expected.keys() | found.keys():
        if found.get(name) != expected.get(name):
            raise RunFolderError(
                f"{path} does not fit {MODEL_FILE}: {name} has the shape and elements {found.get(name)}, expected "
                f"{expected.get(name)}; train again"
            )
    for kind, members in (("networks", networks), ("trees", trees)):
        for i, member in enumerate(members):
            prefix = f"{kind}.{i}."
            own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
            member.load_state_dict(own, assign=True)
    for network in networks:
        strange = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
        if strange:
            raise RunFolderError(f"{path} is damaged: {strange[0]} holds values that are not finite; train again")
        try:
            network.check_edges()
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged: {error}; train again") from error
        if not (torch.equal(network.start, networks[0].start) and torch.equal(network.length, networks[0].length)):
            raise RunFolderError(f"{path} is damaged: its networks cut numbers into other pieces; train again")
    try:
        for one in trees:
            one.check()
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: its trees lead nowhere: {error}; train again") from error
    background = weights[BACKGROUND]
    codes = background[:, background.shape[1] - len(levels) :]  # by which compiled code reads
    if not (background.isfinite().all() and ((codes >= 0) & (codes < levels) & (codes == codes.floor())).all()):
        raise RunFolderError(f"{path} is damaged: {BACKGROUND} holds what is no value of its columns; train again")
    return [network.eval() for network in networks], trees, background
