"""Damaged and hostile run folders are refused, named, and never executed."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch

import torchbce
from run_folders import edit, signed, truncate, weights
from torchbce.common.errors import InputError, OutputError, RunFolderError
from torchbce.table.run.folder import check_predictions_file, load_model
from torchbce.table.run.reservation import reserve_run_folder

DIRECT = "networks.0.direct"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_whole_run_is_loaded(run):
    described, model = load_model(run)
    assert list(dict.fromkeys(column.name for column in described.columns)) == ["age", "colour", "member", "since"]
    assert len(model.ensemble.networks) == described.members
    assert not any(network.training for network in model.ensemble.networks)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: shutil.rmtree(run), "does not exist; expected a folder"),
        (lambda run: (run / "model.json").unlink(), "is not a run folder: it has no model.json"),
        (lambda run: (run / "model.safetensors").unlink(), "it has no model.safetensors"),
        (lambda run: (run / "model.json").write_text("{"), "model.json is damaged: the whole file"),
        (lambda run: (run / "model.json").write_bytes(b"\xff\xfe"), "model.json is damaged"),
        (lambda run: (run / "model.json").write_bytes(b" " * (65 * 2**20)), "larger than 64 MiB"),
        (
            lambda run: edit(run, lambda c: c.update(format="torchbce-table-99")),
            "another version of torchbce: its format is torchbce-table-99",
        ),
        (lambda run: edit(run, lambda c: c.update(run_this="rm")), "model.json is damaged: run_this: Extra inputs"),
        (lambda run: edit(run, lambda c: c["columns"].pop()), "its columns and its network do not fit"),
        (lambda run: edit(run, lambda c: c.update(members=3)), "does not fit model.json"),
        (lambda run: edit(run, lambda c: c.update(slope=-1)), "damaged: slope"),
        (lambda run: edit(run, lambda c: c["columns"][0].update(scale=0)), "damaged: columns.0.numeric.scale"),
        (lambda run: edit(run, lambda c: c["columns"][0].update(mean="x")), "damaged: columns.0.numeric.mean"),
        (lambda run: edit(run, lambda c: c["network"].update(hidden=[65536] * 32)), "does not fit model.json"),
        (lambda run: edit(run, lambda c: c["network"].update(hidden=[10**12])), "damaged: network.hidden.0"),
        (lambda run: edit(run, lambda c: c["network"].update(heads=9)), "does not fit model.json"),
        (lambda run: truncate(run / "model.safetensors"), "model.safetensors is damaged"),
        (lambda run: (run / "model.safetensors").write_bytes(b"\xff" * 100), "model.safetensors is damaged"),
        (lambda run: weights(run, lambda w: w.popitem()), "does not fit model.json"),
        (lambda run: weights(run, lambda w: w.update(extra=torch.ones(3))), "extra has the shape"),
        (lambda run: weights(run, lambda w: w[DIRECT].fill_(torch.nan)), "values that are not finite"),
        (lambda run: weights(run, lambda w: w.update({DIRECT: w[DIRECT].long()})), f"{DIRECT} has .* 'I64'.*expected"),
        (lambda run: edit(run, lambda c: c["trees"][0].update(numbers=9)), "its columns and its network do not fit"),
        (lambda run: edit(run, lambda c: c["trees"].pop()), "does not fit model.json"),
        (lambda run: edit(run, lambda c: c.update(share=1.5)), "damaged: share"),
        (lambda run: weights(run, lambda w: w["trees.0.left"].fill_(2**30)), "its trees lead nowhere"),
        (lambda run: weights(run, lambda w: w["trees.0.column"].fill_(99)), "its trees lead nowhere"),
    ],
)
def test_damage_is_named(run, damage, message):
    damage(run)
    with pytest.raises(RunFolderError, match=message):
        load_model(run)


@pytest.mark.parametrize("file", ["model.json", "model.safetensors", "predictions.parquet"])
def test_no_flipped_bit_goes_unnoticed(run, file):
    whole = (run / file).read_bytes()
    expected = load_model(run)[0]
    for place in range(0, len(whole), max(1, len(whole) // 200)):
        (run / file).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            card, _ = load_model(run)
            check_predictions_file(run)
        except RunFolderError:
            continue
        assert card == expected  # the bit is of a space
        assert file == "model.json"


def test_damaged_predictions_are_not_explained(run, command):
    (run / "predictions.parquet").write_bytes((run / "predictions.parquet").read_bytes()[:-1] + b"X")
    result = command("explain", run)
    assert result.exit_code == 5
    assert "predictions.parquet is damaged" in result.stderr


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
    assert "model.json is damaged: format: Field required; train again" in result.stderr


def test_a_run_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "a" / "run"
    with pytest.raises(RuntimeError), reserve_run_folder(folder, exact=True) as place:  # noqa: PT012
        (place.draft / "half").write_text("")
        assert not folder.exists()
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    with reserve_run_folder(folder, exact=True) as place:
        (place.draft / "whole").write_text("")
        place.finish()
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run"]


def test_two_runs_that_begin_together_get_a_folder_each(tmp_path):
    folder = tmp_path / "run"
    with reserve_run_folder(folder, exact=False) as one, reserve_run_folder(folder, exact=False) as other:
        assert (one.folder.name, other.folder.name) == ("run", "run-2")
        with (
            pytest.raises(OutputError, match="about to be made by another run"),
            reserve_run_folder(folder, exact=True),
        ):
            pass
        other.finish()
        one.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2"]


def test_what_a_dead_run_left_is_removed_by_the_next(tmp_path):
    (tmp_path / ".run.draft-dead").mkdir()
    (tmp_path / ".run.draft-dead" / "model.json").write_text("")
    (tmp_path / ".run.lock").write_text("")  # held by nobody
    with reserve_run_folder(tmp_path / "run", exact=True) as place:
        assert list(tmp_path.glob(".run.draft-*")) == [place.draft]


def test_levels_that_repeat_are_named(run, mixed, command):
    def repeat(card):
        column = next(column for column in card["columns"] if column["kind"] == "categorical")
        column["levels"][1] = column["levels"][0]

    edit(run, repeat)
    result = command("predict", run, mixed)
    assert result.exit_code == 5
    assert "columns.1.categorical.levels: Value error, the level 'red' repeats; train again" in result.stderr


@pytest.fixture
def deep_run(deep, tmp_path) -> Path:
    return Path(shutil.copytree(deep, tmp_path / "deep"))


@pytest.mark.parametrize("name", ["networks.0.hidden.0.weight", "networks.1.hidden.0.weight"])
def test_absurd_weights_give_a_message_and_no_prediction(deep_run, mixed, mixed_table, command, name):
    run = deep_run
    weights(run, lambda w: w[name].fill_(3e38))
    result = command("predict", run, mixed)
    assert result.exit_code == 5
    assert "the model's logit of row 1 is" in result.stderr
    assert "nan" not in result.stdout
    with pytest.raises(InputError, match="the model's logit of row 1 is"):
        torchbce.load(run).predict_proba(mixed_table.drop("bought"))


def edges(w: dict, change) -> None:
    for name in [name for name in w if name.startswith("networks") and name.endswith(".start")]:
        change(w[name], w[name.replace(".start", ".length")])


@pytest.mark.parametrize(
    "change",
    [
        lambda start, length: length.zero_(),
        lambda start, length: length.neg_(),
        lambda start, length: start.copy_(start.flip(1)),
        lambda start, length: start.zero_(),
    ],
)
def test_pieces_that_do_not_follow_each_other_are_refused(deep_run, change):
    weights(deep_run, lambda w: edges(w, change))
    with pytest.raises(RunFolderError, match="pieces that follow each other"):
        load_model(deep_run)


def test_networks_of_other_pieces_are_refused(deep_run):
    weights(deep_run, lambda w: w["networks.1.length"].mul_(2))
    with pytest.raises(RunFolderError, match="its networks cut numbers into other pieces"):
        load_model(deep_run)


@pytest.mark.parametrize("path", ["{there}", "../secret.csv", "sub/../../secret.csv"])
@pytest.mark.parametrize("key", ["source", "test"])
def test_a_path_in_a_stranger_s_run_is_not_followed(run, mixed, command, tmp_path, path, key):
    secret = Path(shutil.copy(mixed, tmp_path / "secret.csv"))
    Path("sub").mkdir()
    name = path.format(there=secret)

    def change(card):
        (card if key == "source" else card["training"])[key] = name

    edit(run, change)
    result = command("explain", run, "--slices")
    assert result.exit_code == 5
    assert (
        "which is a path and no name of a file; it is not followed: say where the table is with --table"
        in result.stderr
    )
    assert command("explain", run, "--slices", "--table", secret).exit_code == 0


def test_predictions_of_rows_that_are_not_there_are_refused(run, mixed, command):
    import polars as pl

    made = pl.read_parquet(run / "predictions.parquet")
    made.with_columns(row=pl.col("row") - 1).write_parquet(run / "predictions.parquet")
    signed(run)
    result = command("explain", run, "--slices", "--table", mixed)
    assert result.exit_code == 3
    assert "predictions of the rows 0 to 999: it is another table" in result.stderr
