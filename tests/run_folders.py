"""Run folders that are changed on purpose."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

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
