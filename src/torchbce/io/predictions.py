"""Make tables of predictions, and read those that users name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.io.kinds import dates, missing_as_null, missing_in_numbers_as_null, simplified
from torchbce.io.kinds import numbers as parsed_numbers
from torchbce.io.periods import period_of
from torchbce.io.scan import read_batches
from torchbce.io.source import SourceFile
from torchbce.io.yes_no import NO, YES

TARGETS_HINT = "; {-1, 1} become (y + 1) / 2, {0, 255} y / 255, and of several classes one is named 1"
FLAGS = "--target, --prob, --logit ..."
NO_GROUP = "(missing)"
WORDS = dict.fromkeys(YES, "1") | dict.fromkeys(NO, "0")


def predictions_table(
    logits: np.ndarray,
    target: pl.Series | np.ndarray | None = None,
    *,
    rows: np.ndarray | None = None,
    split: str | None = None,
    folds: np.ndarray | None = None,
) -> pl.DataFrame:
    """Return a table of row (1 is the first), split, fold, target, logit, probability and loss, as far as known.

    target: may have gaps, whose loss is null.
    """
    wide = torch.from_numpy(logits)
    columns: dict[str, object] = {"row": np.arange(1, len(logits) + 1) if rows is None else rows}
    if split is not None:
        columns["split"] = [split] * len(logits)
    if folds is not None:
        columns["fold"] = folds
    if target is not None:
        target = pl.Series(target).cast(pl.UInt8)
        columns["target"] = target
    columns |= {"logit": logits, "probability": torch.sigmoid(wide).numpy()}
    if target is not None:
        known = torch.from_numpy(target.fill_null(0).cast(pl.Float64).to_numpy(writable=True))
        loss = pl.Series(binary_cross_entropy_with_logits(wide, known, reduction="none").numpy())
        columns["loss"] = loss.set(target.is_null(), None)
    return pl.DataFrame(columns)


def add_key_columns(predictions: pl.DataFrame, keys: dict[str, pl.Series], **more: np.ndarray) -> pl.DataFrame:
    """Add columns of the table to its predictions after the row's number, and `more` at the end."""
    first = [values.alias(name) for name, values in keys.items() if name not in predictions.columns]
    rest = [pl.Series(name, values) for name, values in more.items()]
    return pl.DataFrame([predictions["row"], *first, *predictions.drop("row").get_columns(), *rest])


@dataclass(frozen=True)
class PredictionColumns:
    """The names of the columns that hold predictions."""

    outputs: str
    target: str
    from_logits: bool
    weight: str | None = None
    by: str | None = None
    only: tuple[str, str] | None = None  # rows where this column has this value
    cluster: str | None = None
    every: str | None = None  # day, week, month, quarter or year: groups are these of the date in `by`
    features: tuple[str, ...] = ()  # columns to search for slices

    @property
    def names(self) -> list[str]:
        """Return the columns to read."""
        names = [self.target, self.outputs, self.weight, self.by, self.cluster, self.only[0] if self.only else None]
        return [name for name in names if name is not None] + list(self.features)

    @property
    def flags(self) -> str:
        """Return the options that name columns, for a message about a missing one."""
        options: dict[str, str | None] = {
            "--target": self.target,
            "--logit" if self.from_logits else "--prob": self.outputs,
        }
        options |= {"--weight": self.weight, "--by": self.by, "--cluster": self.cluster}
        options |= {"--only": self.only[0] if self.only else None}
        return ", ".join(f"{flag} {name}" for flag, name in options.items() if name is not None)


@dataclass(frozen=True)
class PredictionBatch:
    """Predictions of some rows, whose values have been checked."""

    outputs: Tensor
    targets: Tensor
    weights: Tensor | None
    rows: np.ndarray
    groups: tuple[np.ndarray, list[str]] | None
    clusters: tuple[np.ndarray, list[str]] | None
    features: dict[str, np.ndarray]  # numbers with NaN, or texts with None


def read_predictions(
    source: SourceFile, columns: PredictionColumns, part: tuple[int, int] = (0, 1)
) -> Iterator[PredictionBatch]:
    """Yield the predictions in a file, in batches.

    Raises:
        InputError: no rows; a value that is missing, no number or not allowed, with file, column and row.
    """
    rows_read, rows_yielded, values = 0, 0, set[str]()
    for first, frame in read_batches(source, columns.names, columns.flags, part):
        rows = np.arange(first, first + frame.height)
        rows_read += frame.height
        if columns.only:
            texts = as_texts(frame[columns.only[0]], source)
            keep = (texts == columns.only[1]).fill_null(False)
            values.update(texts.drop_nulls().unique().sort().head(5).to_list())
            frame, rows = frame.filter(keep), rows[keep.to_numpy()]
        rows_yielded += frame.height
        if frame.height:
            yield prediction_batch(frame, rows, columns, source)
    if not rows_read and part == (0, 1):
        raise InputError(f"{source.name} has a header and no rows")
    if columns.only and not rows_yielded and part == (0, 1):
        known = ", ".join(map(repr, sorted(values)[:5]))
        raise InputError(f"{source.name}: no row has {columns.only[0]} = {columns.only[1]!r}; its values are {known}")


def prediction_batch(
    frame: pl.DataFrame, rows: np.ndarray, columns: PredictionColumns, source: SourceFile
) -> PredictionBatch:
    """Check the predictions in some rows of a table, whose numbers are `rows`."""
    outputs = _checked_numbers(frame, columns.outputs, rows, source, None if columns.from_logits else (0.0, 1.0))
    return PredictionBatch(
        outputs=outputs if outputs.is_floating_point() else outputs.double(),  # of 0 and 1, or true and false
        targets=_checked_numbers(frame, columns.target, rows, source, (0.0, 1.0), is_target=True),
        weights=None if columns.weight is None else _checked_numbers(frame, columns.weight, rows, source, (0.0, None)),
        rows=rows,
        groups=None if columns.by is None else _group_codes(frame[columns.by], source, columns.every),
        clusters=None if columns.cluster is None else _group_codes(frame[columns.cluster], source),
        features={name: _feature_values(frame[name], source) for name in columns.features},
    )


def read_numbers(
    source: SourceFile, columns: list[str], cluster: str | None = None
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Read whole columns of numbers, which may be NaN, and one of texts if `cluster` names it.

    Raises:
        InputError: no rows; a value that is no number, with file, column and row.
    """
    parts: list[list[np.ndarray]] = [[] for _ in columns]
    texts: list[np.ndarray] = []
    for first, frame in read_batches(source, [*columns, cluster] if cluster else columns, FLAGS):
        if cluster is not None:
            texts.append(as_texts(frame[cluster], source).fill_null(NO_GROUP).to_numpy())
        rows = np.arange(first, first + frame.height)
        for part, column in zip(parts, columns, strict=True):
            numbers = _as_numbers(frame[column], source)
            if numbers.null_count():
                raise _refusal(frame[column], numbers.is_null(), column, rows, source, None)
            part.append(numbers.to_numpy())
    if not parts[0] or not sum(map(len, parts[0])):
        raise InputError(f"{source.name} has a header and no rows")
    return [np.concatenate(part) for part in parts], np.concatenate(texts) if texts else None


def as_texts(values: pl.Series, source: SourceFile) -> pl.Series:
    """Return values as they are written, or would be."""
    return simplified(values, f"{source.name}: column {values.name!r}").cast(pl.String)


def _group_codes(values: pl.Series, source: SourceFile, every: str | None = None) -> tuple[np.ndarray, list[str]]:
    """Return each row's group as an index, and the groups' names, sorted."""
    texts = as_texts(values, source) if every is None else period_of(values, every, source.name)
    texts = texts.fill_null(NO_GROUP)
    names = texts.unique().sort()
    return texts.cast(pl.Enum(names)).to_physical().to_numpy(), names.to_list()


def _feature_values(values: pl.Series, source: SourceFile) -> np.ndarray:
    """Return numbers where all values are, else texts."""
    values = simplified(values, f"{source.name}: column {values.name!r}")
    if values.dtype == pl.String:
        values = missing_as_null(values)
        known = missing_in_numbers_as_null(values)
        numbers = parsed_numbers(known, source.format.decimal)
        if numbers.null_count() == known.null_count() and numbers.null_count() < len(values):
            values = numbers
        elif parsed := dates(values):
            values = parsed[0]
    if values.dtype.is_temporal():
        values = values.cast(pl.Int64)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).to_numpy()
    return values.cast(pl.String).to_numpy()


def _checked_numbers(
    frame: pl.DataFrame,
    column: str,
    rows: np.ndarray,
    source: SourceFile,
    interval: tuple[float, float | None] | None,
    is_target: bool = False,
) -> Tensor:
    """Return a column as numbers within an interval, whose upper end is infinite (and excluded) where it is None."""
    values = frame[column]
    numbers = _as_numbers(values, source)
    if numbers.null_count():
        raise _refusal(values, numbers.is_null(), column, rows, source, interval)
    tensor = torch.from_numpy(numbers.to_numpy(writable=True))
    low, high = (bound.item() for bound in tensor.aminmax())  # NaN, if there is one
    least, most = interval or (-float("inf"), None)
    if not (low >= least and (high <= most if most is not None else high == high)):
        bad = numbers.is_nan() if numbers.dtype.is_float() else pl.repeat(False, len(numbers), eager=True)
        bad = bad | (numbers < least)
        if most is not None:
            bad = bad | (numbers > most)
        raise _refusal(values, bad, column, rows, source, interval, is_target)
    if interval == (0.0, None) and high == float("inf"):
        raise _refusal(values, numbers.is_infinite(), column, rows, source, interval)
    return tensor


def _as_numbers(values: pl.Series, source: SourceFile) -> pl.Series:
    """Return values as numbers, of their own dtype if torch has it, or float64; null where a value is none."""
    where = f"{source.name}: column {values.name!r}"
    if values.dtype.is_temporal() or values.dtype.is_nested() or values.dtype == pl.Binary:
        raise InputError(f"{where} holds {values.dtype}; it is to hold numbers, or true and false")
    values = simplified(values, where)
    if values.dtype == pl.String:
        texts = values.str.strip_chars().str.to_lowercase()
        plain = texts.replace(WORDS).cast(pl.Float64, strict=False)
        return (
            plain.zip_with(plain.is_not_null(), parsed_numbers(texts, source.format.decimal))
            if plain.null_count()
            else plain
        )
    if values.dtype == pl.Boolean:
        return values.cast(pl.UInt8)
    if values.dtype in (pl.Float32, pl.Float64, pl.UInt8, pl.Int8, pl.Int16, pl.Int32, pl.Int64):
        return values
    return values.cast(pl.Float64, strict=False)


def _refusal(
    values: pl.Series,
    bad: pl.Series,
    column: str,
    rows: np.ndarray,
    source: SourceFile,
    interval: tuple[float, float | None] | None,
    is_target: bool = False,
) -> InputError:
    """Return the error that shows the first of the bad values, and says what is allowed."""
    position = int(bad.arg_max() or 0)
    value, number = values[position], _as_numbers(values, source)[position]
    shown = "missing" if value is None else repr(value) if number is None else str(value).strip()
    allowed = "a number"
    if interval:
        allowed = "a finite number from 0" if interval[1] is None else "a number from 0 to 1"
    hint = ""
    if interval == (0.0, 1.0) and number is not None:
        hint = TARGETS_HINT if is_target else "; logits go to --logit"
    elif number is None and value is not None and parsed_numbers(pl.Series([str(value)]), ",")[0] is not None:
        hint = "; for a decimal comma pass --decimal ,"
    return InputError(
        f"{source.name}: row {rows[position]} of column {column!r} is {shown}; "
        f"expected {allowed}{hint} ({int(bad.sum())} such rows)"
    )
