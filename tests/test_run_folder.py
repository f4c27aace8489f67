"""Damaged and hostile run folders are refused, named, and never executed."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from torchbce.errors import RunFolderError
from torchbce.trainer.run_folder import load_model, new_run_folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def edit(run: Path, change) -> None:
    path = run / "model.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))


def test_a_whole_run_is_loaded(run):
    card, network = load_model(run)
    assert [column.name for column in card.columns] == ["age", "colour", "member", "since"]
    assert not network.training


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: shutil.rmtree(run), "does not exist; expected a folder"),
        (lambda run: (run / "model.json").unlink(), "is not a run folder: it has no model.json"),
        (lambda run: (run / "model.safetensors").unlink(), "it has no model.safetensors"),
        (lambda run: (run / "model.json").write_text("{"), "model.json is damaged: the whole file"),
        (lambda run: (run / "model.json").write_bytes(b"\xff\xfe"), "model.json is damaged"),
        (lambda run: (run / "model.json").write_bytes(b" " * (65 * 2**20)), "larger than 64 MiB"),
        (lambda run: edit(run, lambda c: c.update(format="torchbce-table-99")), "model.json is damaged: format"),
        (lambda run: edit(run, lambda c: c.update(run_this="rm")), "model.json is damaged: run_this: Extra inputs"),
        (lambda run: edit(run, lambda c: c["columns"].pop()), "its columns and its network do not fit"),
        (lambda run: edit(run, lambda c: c["columns"][0].update(scale=0)), "damaged: columns.0.numeric.scale"),
        (lambda run: edit(run, lambda c: c["columns"][0].update(mean="x")), "damaged: columns.0.numeric.mean"),
        (lambda run: edit(run, lambda c: c["network"].update(hidden=[65536] * 32)), "does not fit model.json"),
        (lambda run: edit(run, lambda c: c["network"].update(hidden=[10**12])), "damaged: network.hidden.0"),
        (lambda run: edit(run, lambda c: c["network"].update(edges=9)), "does not fit model.json"),
        (lambda run: truncate(run / "model.safetensors"), "model.safetensors is damaged"),
        (lambda run: (run / "model.safetensors").write_bytes(b"\xff" * 100), "model.safetensors is damaged"),
        (lambda run: weights(run, lambda w: w.popitem()), "does not fit model.json"),
        (lambda run: weights(run, lambda w: w.update(extra=torch.ones(3))), "extra has the shape"),
        (lambda run: weights(run, lambda w: w["linear"].fill_(torch.nan)), "values that are not finite"),
        (lambda run: weights(run, lambda w: w.update({"linear": w["linear"].long()})), "is damaged"),
    ],
)
def test_damage_is_named(run, damage, message):
    damage(run)
    with pytest.raises(RunFolderError, match=message):
        load_model(run)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def weights(run: Path, change) -> None:
    tensors = load_file(run / "model.safetensors")
    change(tensors)
    save_file(tensors, run / "model.safetensors")


class Boom:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_a_pickle_is_never_executed(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run / "model.safetensors").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(RunFolderError, match="model.safetensors is damaged"):
        load_model(run)
    torch.save(Boom(), run / "model.safetensors")
    with pytest.raises(RunFolderError, match="model.safetensors is damaged"):
        load_model(run)
    assert not Path("executed").exists()


def test_the_command_says_so_with_its_own_exit_code(run, mixed, command):
    (run / "model.json").write_text("{}")
    result = command("predict", run, mixed)
    assert result.exit_code == 5
    assert "model.json is damaged: source: Field required; train again" in result.stderr


def test_a_run_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_run_folder(tmp_path / "a" / "run") as draft:  # noqa: PT012
        (draft / "half").write_text("")
        assert not (tmp_path / "a" / "run").exists()
        raise RuntimeError
    assert not list((tmp_path / "a").iterdir())
    with new_run_folder(tmp_path / "a" / "run") as draft:
        (draft / "whole").write_text("")
    assert [path.name for path in (tmp_path / "a" / "run").iterdir()] == ["whole"]
    assert not [path for path in (tmp_path / "a").iterdir() if path.name != "run"]
