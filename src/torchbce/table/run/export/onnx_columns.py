"""Encode columns of a table as numbers and codes in ONNX, by the same steps as `table.columns`."""

from __future__ import annotations

import numpy as np

from torchbce.table.columns.columns import (
    MICROSECONDS,
    CalendarColumn,
    CategoricalColumn,
    FittedColumn,
    NumericColumn,
    level_count,
)
from torchbce.table.run.export.onnx_graph import OnnxGraph

NO_LEVEL, UNKNOWN = np.iinfo(np.int64).min, -1


def encode_columns(graph: OnnxGraph, columns: list[FittedColumn]) -> tuple[str | None, list[str]]:
    """Return numbers, (N, numbers) float32, NaN if unknown, and each column's codes, (N,) int64, below 0 if unknown."""
    inputs: dict[str, str] = {}
    numeric = {column.name for column in columns if isinstance(column, NumericColumn)}
    for column in columns:
        if column.name not in inputs:
            inputs[column.name] = graph.input(column.name, float if column.name in numeric else str)
    numbers, codes = [], []
    for column in columns:
        given = inputs[column.name]
        if isinstance(column, NumericColumn):
            numbers += _number(graph, given, column)
        elif isinstance(column, CalendarColumn):
            codes.append(_flat(graph, _calendar(graph, given, column)))
        else:
            codes.append(_flat(graph, _category(graph, given, column, is_number=column.name in numeric)))
    return graph("Concat", *numbers, axis=1) if numbers else None, codes


def _number(graph: OnnxGraph, given: str, column: NumericColumn) -> list[str]:
    missing = graph("IsNaN", given)
    within = graph("Clip", given, _double(column.low), _double(column.high))
    scaled = graph("Sub", graph("Div", within, _double(column.scale)), _double(column.mean / column.scale))
    if not column.gaps:
        return [graph.cast(graph("Where", missing, _double(float("nan")), scaled), "FLOAT")]
    value = graph.cast(graph("Where", missing, _double(0.0), scaled), "FLOAT")
    return [value, graph.cast(missing, "FLOAT")]


def _category(graph: OnnxGraph, given: str, column: CategoricalColumn, *, is_number: bool) -> str:
    values = list(range(1, len(column.levels) + 1))
    of_gap, of_others = (0 if learnt else UNKNOWN for learnt in (column.gaps, column.others))
    if not is_number:
        gap = [] if "" in column.levels else [""]
        return graph(
            "LabelEncoder",
            given,
            domain="ai.onnx.ml",
            keys_strings=[*column.levels, *gap],
            values_int64s=[*values, *([of_gap] if gap else [])],
            default_int64=of_others,
        )
    whole = graph("Where", graph("IsNaN", given), _double(float(NO_LEVEL)), given)
    # LabelEncoder takes float32 keys alone besides texts and integers.
    return graph(
        "LabelEncoder",
        graph.cast(whole, "INT64"),
        domain="ai.onnx.ml",
        keys_int64s=[*(int(level) for level in column.levels), NO_LEVEL],
        values_int64s=[*values, of_gap],
        default_int64=of_others,
    )


def _calendar(graph: OnnxGraph, days: str, column: CalendarColumn) -> str:
    """Return the month, weekday or hour of days since 1970-01-01, a Thursday, as a code; 0 for a gap."""
    missing = graph("IsNaN", days)
    known = graph("Where", missing, _double(0.0), days)
    moment = graph("Round", graph("Mul", known, _double(MICROSECONDS)))
    day = _floor(graph, moment, MICROSECONDS)
    if column.part == "hour":
        hours = _floor(graph, _modulo(graph, moment, MICROSECONDS), MICROSECONDS / 24)
        code = graph("Add", hours, _double(1.0))
    elif column.part == "weekday":
        code = graph("Add", _modulo(graph, graph("Add", day, _double(3.0)), 7.0), _double(1.0))
    else:
        code = _month(graph, day)
    code = graph.cast(graph("Where", missing, _double(0.0), code), "INT64")
    codes = np.full(level_count(column), UNKNOWN, np.int64)
    codes[column.known] = column.known
    return graph("Gather", codes, code, axis=0)


def _month(graph: OnnxGraph, day: str) -> str:
    """Return the month by Howard Hinnant's arithmetic, in years that begin in March."""
    era_day = _modulo(graph, graph("Add", day, _double(719468.0)), 146097.0)
    leaps = graph(
        "Sub",
        graph("Sub", _floor(graph, era_day, 36524.0), _floor(graph, era_day, 1460.0)),
        _floor(graph, era_day, 146096.0),
    )
    year = _floor(graph, graph("Add", era_day, leaps), 365.0)
    before = graph("Add", graph("Mul", year, _double(365.0)), _floor(graph, year, 4.0))
    of_year = graph("Sub", era_day, graph("Sub", before, _floor(graph, year, 100.0)))
    from_march = _floor(graph, graph("Add", graph("Mul", of_year, _double(5.0)), _double(2.0)), 153.0)
    return graph("Add", _modulo(graph, graph("Add", from_march, _double(2.0)), 12.0), _double(1.0))


def _floor(graph: OnnxGraph, value: str, by: float) -> str:
    return graph("Floor", graph("Div", value, _double(by)))


def _modulo(graph: OnnxGraph, value: str, by: float) -> str:
    return graph("Sub", value, graph("Mul", _floor(graph, value, by), _double(by)))


def _flat(graph: OnnxGraph, value: str) -> str:
    return graph("Reshape", value, np.array([-1]))


def _double(value: float) -> np.ndarray:
    return np.array(value, np.float64)
