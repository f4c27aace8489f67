"""Exported models give the same probabilities on every row, in ONNX Runtime and in torch.export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

from torchbce import BCEClassifier
from torchbce.io.files import FileRows
from torchbce.table.columns.columns import NumericColumn, encode
from torchbce.table.run.export.files import exported_program
from torchbce.table.run.export.onnx import to_onnx

MICROSECONDS = 86_400e6


def table(count: int = 2600) -> tuple[pl.DataFrame, np.ndarray]:
    """Numbers with gaps, far out and few; texts with rare levels and gaps; moments before and after 1970."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "a": pl.Series(np.where(rng.random(count) < 0.1, np.nan, 1e6 + 1e-3 * rng.normal(size=count))).fill_nan(
                None
            ),
            "text": pl.Series(rng.choice(list("xyz"), count)).set(pl.Series(rng.random(count) < 0.05), None),
            "when": pl.datetime_range(pl.datetime(1893, 1, 1), pl.datetime(2101, 1, 1), "7h13m", eager=True).sample(
                count, seed=1
            ),
            "flag": rng.integers(0, 2, count),
            "few": rng.integers(-4, 5, count),
        }
    )
    y = (frame["few"].to_numpy() + 2 * (frame["text"] == "x").fill_null(False).to_numpy() + rng.normal(size=count)) > 1
    return frame, y


def fed(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """As ONNX takes it: numbers as float64 with NaN, dates in days, texts as objects with "" at gaps."""
    days = frame["when"].dt.epoch("us").cast(pl.Float64) / MICROSECONDS
    numbers = {name: frame[name].cast(pl.Float64).fill_null(float("nan")) for name in ("a", "flag", "few")}
    columns = {name: values.to_numpy()[:, None] for name, values in (numbers | {"when": days}).items()}
    return columns | {"text": frame["text"].fill_null("").to_numpy().astype(object)[:, None]}


@pytest.fixture(scope="module")
def plain() -> BCEClassifier:
    return BCEClassifier(epochs=2, random_state=0).fit(*table())


def run(model: BCEClassifier, frame: pl.DataFrame) -> list[np.ndarray]:
    made = to_onnx(model.model_, {"target": "y"})
    return onnxruntime.InferenceSession(made.SerializeToString()).run(["probability", "logit"], fed(frame))


@pytest.mark.filterwarnings("ignore:X. text. .* categories not seen in training:UserWarning")  # on purpose
@pytest.mark.parametrize(
    "choices", [{}, {"hidden": ()}, {"members": 1, "heads": 1, "hidden": (8,)}, {"members": 1, "heads": 3}]
)
def test_onnx_gives_the_same_on_every_row(choices, plain):
    frame, y = table()
    model = BCEClassifier(epochs=2, random_state=0, **choices).fit(frame, y) if choices else plain
    new = frame.with_columns(a=frame["a"] * 3 - 2e6, text=frame["text"].replace("z", "new"), few=frame["few"] * 2)
    for some in (frame, new, frame[:1]):
        probability, logit = run(model, some)
        assert probability == pytest.approx(model.predict_proba(some)[:, 1], abs=1e-6)
        assert logit == pytest.approx(model.decision_function(some), abs=1e-5)


def test_onnx_takes_numbers_that_are_categories_too(monkeypatch):
    from torchbce.table.columns import fitter

    monkeypatch.setattr(fitter, "MANY_ROWS", 1000)
    frame, y = table()
    model = BCEClassifier(epochs=2, random_state=0).fit(frame, y)
    assert [column.name for column in model.model_.columns].count("few") == 2
    assert run(model, frame)[0] == pytest.approx(model.predict_proba(frame)[:, 1], abs=1e-6)


def test_onnx_needs_no_numbers():
    frame, y = table()
    model = BCEClassifier(epochs=2, random_state=0).fit(frame.select("text"), y)
    made = to_onnx(model.model_, {})
    (found,) = onnxruntime.InferenceSession(made.SerializeToString()).run(["probability"], {"text": fed(frame)["text"]})
    assert found == pytest.approx(model.predict_proba(frame.select("text"))[:, 1], abs=1e-6)


def test_torch_export_gives_the_same(plain, tmp_path):
    (frame, _), model = table(), plain
    (tmp_path / "model.pt2").write_bytes(exported_program(model.model_))
    program = torch.export.load(tmp_path / "model.pt2").module()
    columns = [column for column in model.model_.columns if isinstance(column, NumericColumn)]
    numbers = np.stack([column.values(frame, FileRows("t")) for column in columns], 1)
    encoded = encode(frame, model.model_.columns, FileRows("t"))
    coded = len(model.model_.columns) - len(columns)
    codes = torch.from_numpy(encoded[:, -coded:].astype(np.int64))
    with torch.no_grad():
        found = program(torch.from_numpy(numbers), codes)
    assert found.numpy() == pytest.approx(model.predict_proba(frame)[:, 1], abs=1e-6)
    assert program(torch.from_numpy(numbers[:1]), codes[:1]).shape == (1,)


def test_the_command_writes_and_refuses(trained, mixed_table, command):
    assert command("export", trained, "model.onnx").exit_code == 0
    session = onnxruntime.InferenceSession(Path("model.onnx").read_bytes())
    assert [given.name for given in session.get_inputs()] == ["age", "colour", "member", "since"]
    assert session.get_modelmeta().custom_metadata_map["positive"] == "yes"
    again = command("export", trained, "model.onnx")
    assert again.exit_code == 4
    assert "model.onnx exists already" in again.stderr
    assert command("export", trained, "model.onnx", "--overwrite").exit_code == 0
    assert command("export", trained, "model.pt2").exit_code == 0
    other = command("export", trained, "model.pkl")
    assert other.exit_code == 3
    assert "models are exported as .onnx, or .pt2" in other.stderr
