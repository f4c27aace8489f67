"""The day, week, month, quarter or year that a date lies in, as text that sorts in order of time."""

from __future__ import annotations

import polars as pl

from torchbce.common.errors import InputError
from torchbce.training.table.kinds import dates

PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "quarter": "", "year": "%Y"}


def period_of(values: pl.Series, every: str, where: str) -> pl.Series:
    """The period of each date; null where there is none.

    Raises:
        InputError: a value is no date.
    """
    times = values
    if not values.dtype.is_temporal():
        read = dates(values.cast(pl.String))
        if read is None:
            shown = next((value for value in values.to_list() if value is not None), None)
            raise InputError(
                f"{where}: column {values.name!r} holds values such as {shown!r}, which are not all dates; write "
                "2026-11-25, 2026-11-25 13:00 or 25.11.2026"
            )
        times = read[0]
    if every == "quarter":
        return times.dt.year().cast(pl.String) + "-Q" + times.dt.quarter().cast(pl.String)
    return times.dt.strftime(PERIODS[every])
