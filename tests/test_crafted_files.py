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

import crafted
import torchbce
from test_hostile_files import answer
from test_run_folder import signed


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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seeds", crafted.SEEDS)
def test_crafted_runs(seeds, command, trained, mixed, mixed_table, tmp_path):
    features = mixed_table.drop("bought")
    for seed in seeds:
        run = crafted_run(trained, tmp_path, seed)
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
