"""Tables to train on."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are shared already: threads that wait for them only spin
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

from once import once

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # the GPU kernels, on the CPU; read when triton is imported

# Left out by `make test-fast`: other processes, trainings, Triton's interpreter, programs by the hundreds.
SLOW = {
    "test_adapters.py",
    "test_bad_input.py",
    "test_check_model.py",
    "test_docs.py",
    "test_explain_files.py",
    "test_losses.py",
    "test_losses_peers.py",
    "test_hostile_files.py",
    "test_selftest.py",
    "test_names_in_training.py",
    "test_public_programs.py",
    "test_runtime.py",
    "test_runtime_cache.py",
    "test_tables.py",
    "test_torch_samples.py",
    "test_train.py",
    "test_train_predict.py",
    "test_writing.py",
}


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by markers
def pytest_collection_modifyitems(items):
    grids = defaultdict(list)
    for item in items:
        if item.path.name in SLOW or "gpu" in item.name:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("grid"):
            grids[item.path, item.originalname].append(item)
    for cases in grids.values():
        sample = every_value(cases)
        for item in cases:
            if item not in sample:
                item.add_marker(pytest.mark.combination)


def every_value(cases):
    """Return cases of a test that together hold every value of every parameter."""
    values = {item: {(name, id(value)) for name, value in item.callspec.params.items()} for item in cases}
    shuffled = sorted(cases, key=lambda item: zlib.crc32(item.nodeid.encode()))
    missing, sample = set().union(*values.values()), []
    while missing:
        sample.append(max(shuffled, key=lambda item: len(values[item] & missing)))
        missing -= values[sample[-1]]
    return sample


@pytest.fixture(autouse=True)
def on_the_gpu(request):
    """Tests of the GPU's kernels make their tensors there, where there is one."""
    given = getattr(getattr(request.node, "callspec", None), "params", {})
    of_kernels = any(isinstance(value, str) and value == "gpu" for value in given.values())
    if not (of_kernels and torch.cuda.is_available()):
        yield
        return
    with torch.device("cuda"):
        yield


# The first call of a loss on a machine compiles, which takes seconds.
settings.register_profile("torchbce", deadline=None)
settings.load_profile("torchbce")


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory) -> Path:
    data = load_breast_cancer()
    path = tmp_path_factory.mktemp("data") / "breast_cancer.csv"
    table = pl.DataFrame(data.data, schema=[name.replace(" ", "_") for name in data.feature_names])
    table.with_columns(benign=pl.Series(data.target)).write_csv(path)
    return path


@pytest.fixture(scope="session")
def mixed_table() -> pl.DataFrame:
    """1,000 rows with numbers, gaps, categories, dates, true/false and columns that cannot be used; 30 % yes."""
    rng = np.random.default_rng(0)
    n = 1000
    age = rng.normal(40, 10, n).round(1)
    colour = rng.choice(["red", "green", "blue"], n, p=[0.5, 0.3, 0.2])
    score = (age - 40) / 10 + (colour == "red") - 1.5 + rng.normal(0, 0.5, n)
    gaps = rng.random(n) < 0.1
    return pl.DataFrame(
        {
            "id": [f"customer-{i}" for i in range(n)],
            "age": pl.Series(age).scatter(np.flatnonzero(gaps), None),
            "colour": colour,
            "member": rng.random(n) < 0.5,
            "since": pl.date_range(pl.date(2020, 1, 1), pl.date(2022, 9, 26), eager=True),
            "nothing": pl.Series([None] * n, dtype=pl.String),
            "same": 7,
            "bought": np.where(rng.random(n) < 1 / (1 + np.exp(-2 * score)), "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def mixed(mixed_table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    mixed_table.write_csv(path)
    return path


@pytest.fixture
def reference():
    """For what holds whichever engine computes: nothing has to be compiled."""
    from torchbce.engine import select

    with select.forced("reference"):
        yield


@pytest.fixture
def pictures():
    """For tests that look at what a command draws: most of a short training's time."""


@pytest.fixture
def command(request, monkeypatch, tmp_path):
    """Runs `torchbce ...` in an empty folder; gives exit code, output and errors."""
    from torchbce.cli.app import app

    monkeypatch.chdir(tmp_path)
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("torchbce.explanation.plots.figure.to_svg", lambda figure: "<svg></svg>")
    runner = CliRunner()

    def run(*arguments: object):
        return runner.invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def trained(mixed, tmp_path_factory) -> Path:
    """A run folder of the mixed table."""
    from torchbce.cli.app import app

    def train(folder):
        options = ["--target", "bought", "--out", str(folder / "shop"), "--epochs", "5"]
        result = CliRunner().invoke(app, ["train", str(mixed), *options])
        assert result.exit_code == 0, result.output

    return once(tmp_path_factory, "trained", train) / "shop"


@pytest.fixture(scope="session")
def deep(mixed_table, tmp_path_factory) -> Path:
    """A run folder of two networks with layers, whose numbers are cut into pieces."""
    import torchbce

    def train(folder):
        classifier = torchbce.BCEClassifier(hidden=(4,), members=2, epochs=1, random_state=0, trees=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torchbce.table.ensemble.config.SMALL", 100)
            classifier.fit(mixed_table.drop("bought"), mixed_table["bought"]).save(folder / "run")

    return once(tmp_path_factory, "deep", train) / "run"
