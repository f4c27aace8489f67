"""A table in several files is one, whether it is read into memory or in blocks."""

from __future__ import annotations

import polars as pl
import pytest

from torchbce.training.examples import Held, Roles
from torchbce.training.stream.train import prepare as prepare_in_blocks
from torchbce.training.train import prepare as prepare_in_memory


@pytest.mark.parametrize("stored", [pl.Int64, pl.UInt8, pl.Float64, pl.String])
@pytest.mark.parametrize("first", [True, False])
def test_a_target_of_booleans_beside_numbers_is_as_in_memory(tmp_path, stored, first):
    """Shards that other tools wrote: in one true and false, in another 1 and 0."""
    answers = pl.Series("y", [True, False, False] * 10)
    numbers = answers.cast(pl.Int8).cast(stored) if stored != pl.String else answers.cast(pl.String)
    (tmp_path / "t").mkdir()
    for i, column in enumerate((answers, numbers) if first else (numbers, answers)):
        pl.DataFrame([pl.Series("x", range(30)).cast(pl.Float64), column]).write_parquet(
            tmp_path / "t" / f"{i}.parquet"
        )
    table, given = str(tmp_path / "t"), (Roles("y"), Held(share=0))
    whole = prepare_in_memory(table, *given, seed=1).outline
    blocks = prepare_in_blocks([table], *given, seed=1, format=None, cache=tmp_path / "c", on_rows=None).outline
    assert (whole.target, whole.rows, whole.base_rate) == (blocks.target, blocks.rows, blocks.base_rate)
    assert blocks.target.positive == ("true" if stored == pl.String else "1")
