"""Whatever somebody wrote into a checkpoint, the run goes on, or one message says that it is not of this run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corpus import crafted
from packed_tables import made, prepared, written
from torchbce import InputError
from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.checkpoint.folder import CheckpointFolder
from torchbce.checkpoint.record import read_record, write_record
from torchbce.table.ensemble.block_fit import fit_blocks
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import UserOptions, block_config, default_config
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.trees.boosting import Boosting
from tree_tables import halves, table


class Enough(Exception):
    """The checkpoint that is wanted has been written."""


def kept_by(train, folder: Path, saves: int) -> Path:
    """The folder of a run that was stopped after so many checkpoints."""
    count = 0

    def save(checkpointer, state):
        nonlocal count
        original(checkpointer, state)
        count += 1
        if count == saves:
            raise Enough

    with pytest.MonkeyPatch.context() as patch:
        original = Checkpointer.save
        patch.setattr(Checkpointer, "save", save)
        patch.setattr(Checkpointer, "is_due", property(lambda c: c.enabled))
        with pytest.raises(Enough):
            train(Checkpointer(CheckpointFolder(folder, {"--seed": 1})))
    return folder


def in_memory(checkpointer: Checkpointer) -> np.ndarray:
    data = table(400, weighted=True)
    chosen = default_config(400, UserOptions(hidden=(4,), epochs=3, members=2, batch_size=100))
    chosen = replace(chosen, trees=Boosting(0.1, 4, most=3))
    return fit_ensemble(
        data, halves(data), chosen, seed=0, callbacks=Callbacks(checkpointer=checkpointer)
    ).ensemble.logits(data.rows)


@pytest.fixture(scope="module")
def in_blocks(tmp_path_factory):
    """Training on a small packed table, with what is kept."""
    place = tmp_path_factory.mktemp("blocks")
    stream = prepared(written(made(), place / "t", "parquet"), place / "c")
    chosen = block_config(len(stream.train), UserOptions(hidden=(4,), epochs=2, members=2, batch_size=500))

    def train(checkpointer: Checkpointer) -> np.ndarray:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torchbce.table.ensemble.in_blocks.TOGETHER", 2)
            return fit_blocks(stream, chosen, seed=0, callbacks=Callbacks(checkpointer=checkpointer)).test_logits

    return train


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seeds", crafted.SEEDS)
@pytest.mark.parametrize("kind", ["memory", "blocks"])
def test_crafted_checkpoints(kind, seeds, in_blocks, tmp_path):
    train = in_memory if kind == "memory" else in_blocks
    wholes = [kept_by(train, tmp_path / f"whole{saves}", saves) for saves in (1, 2, 3)]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        folder = Path(shutil.copytree(wholes[seed % 3], tmp_path / "crafted"))
        file = sorted(folder.glob("[cp]*.safetensors"))[-1 if seed % 4 else 0]
        write_record(file, crafted.changed_state(read_record(file), rng))
        try:
            assert np.isfinite(train(Checkpointer(CheckpointFolder(folder, {"--seed": 1})))).all(), seed
        except InputError as error:
            if str(folder) not in str(error) and "the learning rate is too large" not in str(error):
                raise
        shutil.rmtree(folder)
