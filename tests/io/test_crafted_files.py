"""Whatever somebody wrote into a run folder or a sketch, with digests that fit, gets one answer.

Either it is as good as what torchbce writes, or one message says what is wrong: no traceback, no crash, no NaN. Caches
are in `test_cache`, checkpoints in `test_crafted_checkpoints`; `TORCHBCE_FUZZ` says how many.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

import torchbce
from answering import answer
from corpus import crafted
from run_folders import signed
from torchbce.explanation.sketch.file import MAGIC, _state, from_bytes, packed


def crafted_run(whole: Path, place: Path, seed: int) -> Path:
    """A copy of a run folder in which something is other, and all digests fit."""
    rng = np.random.default_rng(seed)
    run = Path(shutil.copytree(whole, place / f"run{seed}"))
    if seed % 2:
        card = crafted.changed_json(json.loads((run / "model.json").read_text()), rng)
        (run / "model.json").write_text(json.dumps(card))
    elif seed % 8:
        tensors = crafted.changed_arrays(load_file(run / "model.safetensors"), rng)
        save_file(crafted.dense(tensors), run / "model.safetensors")
    else:
        file = run / "predictions.parquet"
        made = {name: column.to_numpy() for name, column in pl.read_parquet(file).to_dict().items()}
        changed = {name: values.reshape(-1) for name, values in crafted.changed_arrays(made, rng).items()}
        short = min(map(len, changed.values()))
        pl.DataFrame({name: values[:short] for name, values in changed.items()}).write_parquet(file)
    signed(run)
    return run


@pytest.mark.filterwarnings("ignore:.*categories not seen:UserWarning")  # of a level that was crafted away
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seeds", crafted.SEEDS)
def test_crafted_runs(seeds, command, trained, mixed, mixed_table, tmp_path, request):
    wholes = trained, request.getfixturevalue("deep")
    features = mixed_table.drop("bought")
    for seed in seeds:
        run = crafted_run(wholes[seed % 8 > 3], tmp_path, seed)
        found = command("predict", run, mixed, "--out", f"p{seed}.csv")
        answer(found, seed)
        if found.exit_code == 0:
            made = pl.read_csv(f"p{seed}.csv")
            assert made["probability"].is_between(0, 1).all(), seed
            assert made["logit"].is_finite().all(), seed
        else:
            assert found.exit_code in (3, 5), (seed, found.output)
        if seed % 8 == 0 or seed % 5 == 0:
            answer(command("explain", run, "--slices"), seed)
            answer(command("explain", run, "--slices", "--table", mixed), seed)
            answer(command("export", run, f"m{seed}.onnx"), seed)
            with contextlib.suppress(torchbce.InputError):
                assert np.isfinite(torchbce.load(run).predict_proba(features)).all(), seed
        shutil.rmtree(run)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seeds", crafted.SEEDS)
def test_crafted_sketches(seeds, command):
    rng = np.random.default_rng(0)
    columns = {"p": rng.random(60).round(3), "y": rng.integers(0, 2, 60), "c": rng.choice(["a", "b"], 60)}
    pl.DataFrame(columns).write_csv("t.csv")
    made = command("explain", "t.csv", "--prob", "p", "--target", "y", "--by", "c", "--cluster", "c", "--save", "whole")
    assert made.exit_code == 0, made.output
    whole = from_bytes(Path("whole").read_bytes())
    for seed in seeds:
        rng = np.random.default_rng(seed)
        texts, arrays = _state(whole)
        texts, arrays = json.loads(json.dumps(texts)), {name: np.asarray(value) for name, value in arrays.items()}
        if seed % 2:
            texts = crafted.changed_json(texts, rng)
        else:
            arrays = crafted.changed_arrays(arrays, rng)
        Path("s").write_bytes(packed(MAGIC, texts, arrays))
        for files in (["s"], ["s", "whole"]):
            found = command("explain", *files, "--merge", "--json")
            answer(found, seed)
            assert found.exit_code in (0, 3), (seed, found.output)
