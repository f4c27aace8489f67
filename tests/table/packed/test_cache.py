"""The cache of a large table is used again only as this user wrote it; what is in it stays within the network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corpus import crafted
from packed_tables import few_rows_are_many, made, prepared, written  # noqa: F401 - a fixture that is always there
from torchbce import InputError, OutputError
from torchbce.table.ensemble.block_fit import fit_blocks
from torchbce.table.ensemble.config import UserOptions, block_config
from torchbce.table.packed import cache, part_file, records, shuffled, stored
from torchbce.table.packed.description import CacheFile
from torchbce.table.packed.records import BLOCK
from torchbce.table.run.folder import _digest

NAMES = {"cache.json", "tensors.safetensors", "train.records", "valid.records", "test.records"}


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> list[str]:
    return written(made(), tmp_path_factory.mktemp("t") / "t", "parquet")


@pytest.fixture(scope="module")
def whole(names, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("whole") / "c"
    prepared(names, place)
    return place


@pytest.fixture
def place(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "c"))


def described(place: Path) -> CacheFile:
    return CacheFile.model_validate_json((place / "cache.json").read_bytes())


def array(place: Path, part: str, name: str) -> tuple[int, np.ndarray]:
    """Where an array of a part's first block begins, and a copy of it."""
    card = described(place)
    start = 0
    for key, memory in card.layout.arrays(min(card.parts[part].rows, BLOCK)).items():
        if key == name:
            content = (place / f"{part}.records").read_bytes()[start : start + memory.nbytes]
            return start, np.frombuffer(content, memory.dtype).reshape(memory.shape).copy()
        start += -(-memory.nbytes // 8) * 8
    raise KeyError(name)


def put(place: Path, part: str, name: str, row: int, value: float, column: int | None = None) -> None:
    """One number of one row, in the file alone."""
    start, values = array(place, part, name)
    values[row if column is None else (row, column)] = value
    with (place / f"{part}.records").open("r+b") as file:
        file.seek(start)
        file.write(values.tobytes())


def sign(place: Path) -> None:
    """Digests that fit, as of somebody who edits both."""
    card = json.loads((place / "cache.json").read_text())
    for part in card["parts"].values():
        if (place / part["file"]).exists():
            part["sha256"] = _digest(place / part["file"])
    card["tensors"] = _digest(place / "tensors.safetensors")
    whole = CacheFile.model_construct(**card)
    try:
        whole = CacheFile.model_validate(card)
        card["digest"] = whole.own_digest()
    except ValueError:  # what the schema refuses needs no digest
        pass
    (place / "cache.json").write_text(json.dumps(card))


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_flipped_bit_in_the_rows_is_found_on_reuse(names, place, part):
    expected = array(place, part, "numbers")[1]
    content = bytearray((place / f"{part}.records").read_bytes())
    content[100] ^= 1
    (place / f"{part}.records").write_bytes(content)
    found = prepared(names, place)
    assert not found.reused
    assert f"{part}.records is not what was written" in found.notes[-1]
    assert np.array_equal(array(place, part, "numbers")[1], expected)
    assert prepared(names, place).reused


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_cache_that_others_can_write_is_not_used(names, place, name):
    assert prepared(names, place).reused
    (place / name).chmod(0o664)
    found = prepared(names, place)
    assert not found.reused
    assert f"{name} is another user's, or others can write to it" in found.notes[-1]
    place.chmod(0o777)
    assert not prepared(names, place).reused
    assert prepared(names, place).reused


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_link_in_a_cache_is_not_followed(names, place, tmp_path, name):
    (place / name).rename(tmp_path / name)
    (place / name).symlink_to(tmp_path / name)
    found = prepared(names, place)
    assert not found.reused
    assert (tmp_path / name).exists()


def test_a_cache_is_its_user_s_alone_whatever_the_umask(names, tmp_path):
    before = os.umask(0)
    try:
        prepared(names, tmp_path / "c")
    finally:
        os.umask(before)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (tmp_path / "c").iterdir()} == NAMES
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "c").iterdir())


def test_another_user_s_cache_is_neither_used_nor_replaced(names, place, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(OutputError, match="is another user's; name a folder on another disk with --cache DIR"):
        prepared(names, place)
    assert {path.name for path in place.iterdir()} == NAMES


def test_where_nothing_can_be_kept_from_others_no_cache_is_made(names, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "is_own", lambda _: False)
    with pytest.raises(OutputError, match="would lie where others can write"):
        prepared(names, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "column", "message"),
    [
        ("codes", 5, "text", r"column 'text' holds the code 5; its last is 4"),
        ("codes", 500, "text", "column 'text' holds the code 500"),
        ("codes", 100_000, "code", "column 'code' holds the code 100000"),
        ("codes", -1, "code", "column 'code' holds the code -1"),
        ("codes", 2_000_000_000, "code", "column 'code' holds the code 2000000000"),
        ("bins", 40, "a", "column 'a' holds the piece 40"),
        ("bins", 65_535, "a", "column 'a' holds the piece 65535"),
        ("fractions", 1.5, "a", "column 'a' holds the fraction 1.5; it is between 0 and 1"),
        ("fractions", np.nan, "a", "column 'a' holds the fraction nan"),
        ("target", 0.5, None, "the target is 0.5; it is 0 or 1"),
        ("target", np.nan, None, "there is the target nan"),
        ("weight", -1.0, None, "there is the weight -1.0"),
        ("weight", np.nan, None, "there is the weight nan"),
        ("rows", 0, None, "there is the row number 0"),
    ],
)
def test_a_number_that_no_row_has_is_named_even_where_the_digests_fit(names, place, name, value, column, message):
    stream = prepared(names, place)
    bounds = stream.train._bounds
    columns = {"codes": bounds.coded, "bins": bounds.cut, "fractions": bounds.cut}.get(name)
    put(place, "train", name, 700, value, None if columns is None else columns.index(column))
    sign(place)
    found = prepared(names, place)
    assert found.reused
    row = int(array(place, "train", "rows")[1][700])
    where = rf"train.records: block 0, row {row} of the table: .*{message}.*delete the cache {place}"
    for read in (lambda: found.train.window([0]), lambda: list(found.train.in_order())):
        with pytest.raises(InputError, match=where):
            read()
    with pytest.raises(InputError, match=where):
        stream.train.window([0])  # that was open before


def test_a_number_that_is_not_finite_is_named(names, tmp_path):
    stream = prepared(names, tmp_path / "c", pieces=0)
    put(tmp_path / "c", "valid", "numbers", 7, np.inf, 3)
    with pytest.raises(InputError, match="column 'few' holds the number inf"):
        stream.valid.window([0])


def test_the_block_of_a_wrong_row_is_named_wherever_it_is_read(names, tmp_path, monkeypatch):
    for module in (records, part_file, stored, shuffled):
        monkeypatch.setattr(module, "BLOCK", 64)
    stream = prepared(names, tmp_path / "c")
    last = stream.train.blocks - 1
    row = int(stream.train.window([2]).numbers[3])
    with (tmp_path / "c" / "train.records").open("r+b") as file:
        file.seek(3 * stream.train.layout.block_bytes(64) - 8 * 64 - 4 * 64 - 4 * (64 - 3))  # of the third block
        file.write(np.float32(7).tobytes())
    for blocks in ([last, 2], [0, 2], [2, last]):
        with pytest.raises(InputError, match=f"block 2, row {row} of the table: there is the target 7.0"):
            stream.train.window(blocks)


def edit_tensors(place: Path, change) -> None:
    tensors = load_file(place / "tensors.safetensors")
    change(tensors)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, place / "tensors.safetensors")
    (place / "tensors.safetensors").chmod(0o600)
    sign(place)


def edit_json(place: Path, change) -> None:
    card = json.loads((place / "cache.json").read_text())
    change(card)
    (place / "cache.json").write_text(json.dumps(card))
    sign(place)


def category(card: dict) -> dict:
    return next(column for column in card["columns"] if column["kind"] == "categorical")


@pytest.mark.parametrize(
    ("edit", "change", "message"),
    [
        (edit_tensors, lambda t: t.pop("answers"), "its tensors are not those of its columns"),
        (edit_tensors, lambda t: t.update(extra=t["sample"]), "its tensors are not those"),
        (edit_tensors, lambda t: t["edges.0"].sort() or t.update({"edges.0": t["edges.0"][::-1]}), "numbers that rise"),
        (edit_tensors, lambda t: t.update({"edges.0": t["edges.0"].astype(float)}), "numbers that rise"),
        (edit_tensors, lambda t: t.update({"edges.0": t["edges.0"][:2]}), "its rows are laid out as"),
        (edit_tensors, lambda t: t["edges.0"].fill(np.nan), "numbers that rise"),
        (edit_tensors, lambda t: t.update(sample=t["sample"][:, 1:]), "expected rows of its columns"),
        (edit_tensors, lambda t: t["sample"][:, -1].fill(99), "sample holds what no row has"),
        (edit_tensors, lambda t: t["sample"][:, -1].fill(0.5), "sample holds what no row has"),
        (edit_tensors, lambda t: t["sample"].fill(np.nan), "sample holds what no row has"),
        (edit_tensors, lambda t: t["answers"].fill(2), "answers are not 0 and 1"),
        (edit_tensors, lambda t: t["weight"].fill(-1), "no weight"),
        (edit_json, lambda c: category(c)["levels"].append(category(c)["levels"][0]), "repeat"),
        (edit_json, lambda c: category(c)["levels"].append("new"), "sample|laid out|columns"),
        (edit_json, lambda c: c["layout"].update(coded=1), "its rows are laid out as"),
        (edit_json, lambda c: c["layout"].update(weighted=False), "its tensors are not those"),
        (edit_json, lambda c: c["parts"].pop("valid"), "its parts are"),
        (edit_json, lambda c: c["parts"].update(other=c["parts"]["valid"]), "the part other is said to be in"),
        (edit_json, lambda c: c["parts"]["train"].update(ones=10**9), "more rows of the positive class"),
        (edit_json, lambda c: c["parts"]["train"].update(ones=0), "all of one class"),
        (edit_json, lambda c: c["parts"]["train"].update(rows=10**12), "train.records has"),
        (edit_json, lambda c: c["parts"]["train"].update(file="valid.records"), "is said to be in valid.records"),
        (edit_json, lambda c: c.update(edges=10**6), "its tensors are not those|edges"),
    ],
)
def test_a_description_that_does_not_fit_its_columns_is_not_used(names, place, edit, change, message):
    edit(place, change)
    found = prepared(names, place)
    if found.reused:  # one level more than the sample has: rows stay within the network that has it, too
        assert message.startswith("sample|")
        return
    assert re.search(message, found.notes[-1]), found.notes[-1]


@pytest.mark.parametrize("seeds", crafted.SEEDS)
def test_whatever_somebody_wrote_into_a_cache_training_ends_with_numbers_or_one_message(seeds, whole, names, tmp_path):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        place = Path(shutil.copytree(whole, tmp_path / "c"))
        kind = seed % 3
        if kind == 0:
            card = crafted.changed_json(json.loads((place / "cache.json").read_text()), rng)
            (place / "cache.json").write_text(json.dumps(card))
        elif kind == 1:
            save_file(
                crafted.dense(crafted.changed_arrays(load_file(place / "tensors.safetensors"), rng)), place / "new"
            )
            (place / "new").chmod(0o600)
            (place / "new").rename(place / "tensors.safetensors")
        else:
            file = place / f"{('train', 'valid', 'test')[seed % 9 // 3]}.records"
            content = np.frombuffer(file.read_bytes(), "<i4" if seed % 2 else "<u2")
            file.write_bytes(crafted.spoilt(content, rng).tobytes())
        with contextlib.suppress(KeyError, TypeError, AttributeError, IndexError):  # what the schema refuses
            sign(place)
        try:
            stream = prepared(names, place)
            for part in (stream.train, stream.valid, stream.test):
                assert part is None or all(len(window.rows) for window in part.in_order())
            if stream.reused:
                chosen = block_config(len(stream.train), UserOptions(hidden=(4,), epochs=1, batch_size=500))
                found = fit_blocks(stream, chosen, seed=0)
                assert np.isfinite(found.train_bce)
        except InputError as error:
            if str(place) not in str(error):
                raise
        shutil.rmtree(place)
