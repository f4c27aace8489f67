"""Files that nobody meant to give: tables, predictions and sketches damaged, retyped and renamed, by a seed."""

from __future__ import annotations

import gzip
import io
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import polars as pl

ROWS = 60
NAMES = [
    "^x.*$",
    "a b",
    "x,y",
    'q"q',
    "ümlaut",
    "\x1b[31mred",
    "",
    " ",
    "__torchbce_blank",
    "row",
    "日本",
    "$HOME",
    "-x",
]


def base(rng: np.random.Generator) -> pl.DataFrame:
    """A table that can be trained on: two numbers, a category, predictions and a target."""
    x = rng.normal(size=ROWS)
    y = (x + rng.normal(size=ROWS) > 0).astype(np.int64)
    return pl.DataFrame(
        {
            "a": x,
            "b": rng.integers(0, 9, ROWS),
            "c": rng.choice(["red", "blue", "green"], ROWS),
            "p": np.clip(1 / (1 + np.exp(-x)), 0.01, 0.99),
            "y": y,
        }
    )


def columns(rng: np.random.Generator) -> list[pl.Series]:
    """Columns of every type, and of values that break arithmetic."""
    n = ROWS
    days = [date(2020, 1, 1) + timedelta(days=int(i)) for i in rng.integers(0, 900, n)]
    texts = rng.choice(["1e308", "-1e308", "1e-320", "nan", "inf", "", "1_000", "0x10", "１２", "1,5", "4.5%", "$3"], n)
    return [
        pl.Series(rng.choice(["u", "v"], n)).cast(pl.Categorical),
        pl.Series(rng.choice(["u", "v"], n), dtype=pl.Enum(["u", "v"])),
        pl.Series(rng.random(n) < 0.5),
        pl.Series([bytes([i % 7]) for i in range(n)]),
        pl.Series([[i, i + 1] for i in range(n)]),
        pl.Series([[1.0, 2.0]] * n, dtype=pl.Array(pl.Float64, 2)),
        pl.Series([{"k": i} for i in range(n)]),
        pl.Series([timedelta(seconds=int(i)) for i in rng.integers(0, 9999, n)]),
        pl.Series([Decimal(int(i)) / 7 for i in rng.integers(0, 99, n)]).cast(pl.Decimal(20, 4)),
        pl.Series([time(int(i) % 24, 3) for i in range(n)]),
        pl.Series(days),
        pl.Series([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)] * (n // 2)),
        pl.Series(np.where(np.arange(n) % 2, 1e308, -1e308)),
        pl.Series(np.full(n, np.nan)),
        pl.Series(np.full(n, np.inf)),
        pl.Series([2**63 + i for i in range(n)], dtype=pl.UInt64),
        pl.Series([None] * n),
        pl.Series(rng.integers(-2, 3, n)),
        pl.Series(texts),
        pl.Series(["0001-01-01", "99999-12-31"] * (n // 2)),
        pl.Series(["2020-13-45"] * n),
        pl.Series(["x" * 5000] * n),
        pl.Series(rng.random(n).astype(np.float32)),
    ]


def file(seed: int) -> tuple[str, bytes]:
    """A name and a content."""
    rng = np.random.default_rng(seed)
    table, kind = base(rng), ["csv", "parquet", "arrow", "csv"][seed % 4]
    found = columns(rng)
    for _ in range(int(rng.integers(0, 3))):
        place = str(rng.choice(["a", "b", "c", "p", "y"]))
        table = table.with_columns(found[int(rng.integers(len(found)))].alias(place))
    if rng.random() < 0.3:
        table = table.rename({"a": str(rng.choice(NAMES))}, strict=False)
    content = _written(table, kind)
    if rng.random() < 0.5:
        content = _damaged(content, rng)
    suffix = ""
    if rng.random() < 0.15:
        content, suffix = gzip.compress(content), ".gz"
        if rng.random() < 0.5:
            content = _damaged(content, rng)
    return f"t{seed}.{kind}{suffix}", content


def _written(table: pl.DataFrame, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "csv":
        nested = (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Object)
        flat = [
            s.hash() if isinstance(s.dtype, nested) else _microseconds(s) if s.dtype == pl.Duration else s
            for s in table
        ]
        pl.DataFrame(flat).write_csv(out)
    elif kind == "parquet":
        table.write_parquet(out)
    else:
        table.write_ipc(out)
    return out.getvalue()


def _microseconds(values: pl.Series) -> pl.Series:
    """By another name meanwhile: a series' methods go wrong where its own looks like polars' patterns."""
    return values.alias("values").to_physical().alias(values.name)


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    what = int(rng.integers(5))
    place = int(rng.integers(max(1, len(content))))
    if what == 0:
        return content[:place]
    if what == 1:
        return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 12))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8)) if changed else 0
    if what == 2:
        return bytes(changed)
    if what == 3:
        return content.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\n", b'"\n', b"\0\n"]), int(rng.integers(1, 5)))
    cut = int(rng.integers(max(1, len(content))))
    return content[:place] + content[cut:]
