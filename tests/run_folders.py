"""Run folders that are changed on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import torchbce
from torchbce.table.run import folder as run_folder


def edit(run: Path, change) -> None:
    path = run / "model.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    signed(run)


def signed(run: Path) -> None:
    """Digests that fit, so that the checks behind them are reached."""
    path = run / "model.json"
    try:
        card = run_folder.ModelFile.model_validate_json(path.read_bytes())
    except ValueError:
        return
    names = [name for name in ("model.safetensors", "predictions.parquet") if (run / name).exists()]
    card = card.model_copy(update={"sha256": {name: run_folder._digest(run / name) for name in names}})
    own = {"model.json": run_folder._own_digest(card)}
    path.write_text(card.model_copy(update={"sha256": card.sha256 | own}).model_dump_json())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def weights(run: Path, change) -> None:
    tensors = load_file(run / "model.safetensors")
    change(tensors)
    save_file(tensors, run / "model.safetensors")
    signed(run)


@pytest.fixture(scope="module")
def deep(mixed_table, tmp_path_factory) -> Path:
    """A run folder of two networks with layers, whose numbers are cut into pieces."""
    folder = tmp_path_factory.mktemp("deep") / "run"
    classifier = torchbce.BCEClassifier(hidden=(4,), members=2, epochs=1, random_state=0, trees=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchbce.table.ensemble.config.SMALL", 100)
        classifier.fit(mixed_table.drop("bought"), mixed_table["bought"]).save(folder)
    return folder
