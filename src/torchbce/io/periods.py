"""Name the day, week, month, quarter or year of a date, as text that sorts in order of time."""

from __future__ import annotations

import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.kinds import dates, simplified

PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "quarter": "", "year": "%Y"}


def period_of(values: pl.Series, every: str, where: str) -> pl.Series:
    """Return the period of each date; null where there is none.

    Raises:
        InputError: a value is no date.
    """
    times, kind = values, values.dtype
    if kind in (pl.Time, pl.Duration):
        raise InputError(f"{where}: column {values.name!r} holds {kind}, which is in no period; name a column of dates")
    if not kind.is_temporal():
        written = simplified(values, f"{where}: column {values.name!r}").cast(pl.String)
        parsed = dates(written)
        if parsed is None:
            texts = written.drop_nulls().unique(maintain_order=True)
            strange = next((text for text in texts.to_list() if dates(pl.Series([text])) is None), None)
            what = "dates of several forms" if strange is None else f"{strange!r}, which is no date"
            raise InputError(
                f"{where}: column {values.name!r} has {what}; write all of them as 2026-11-25, as 2026-11-25 13:00 or "
                "as 25.11.2026"
            )
        times = parsed[0]
    if every == "quarter":
        return times.dt.year().cast(pl.String) + "-Q" + times.dt.quarter().cast(pl.String)
    return times.dt.strftime(PERIODS[every])
