"""What a column of texts is, decided from all of its rows: numbers, dates, true and false, or texts.

Numbers may have a decimal comma (if that is said), thousands separators, a percent or currency sign. A date format is
kept by its name, as new rows must be read like those of the training.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

import polars as pl

from torchbce.common.errors import InputError

# What counts as a missing value in a CSV file, Excel's errors and what databases write among it.
MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "<NA>", "\\N"]
MISSING += ["#N/A", "#NA", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NULL!", "#NAME?"]
MISSING_IN_NUMBERS = [".", "..", "-", "--", "–", "—"]  # also counts where all else are numbers
NEGATIVE = r"^\s*\([^()]*\d[^()]*\)\s*$"  # as accountants write it
NUMBERED = r"^\s*\(\d+\)\s*$"  # also the number of a note, where a column holds nothing else
SIGNS = "$€£¥%"
NUMBER = rf"^[+-]?[{SIGNS}]?\s?[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s?[{SIGNS}]?$"
GROUPED = rf"^[+-]?[{SIGNS}]?\s?[+-]?\d{{1,3}}(,\d{{3}})+(\.\d+)?\s?[{SIGNS}]?$"
COMMA = rf"^[+-]?[{SIGNS}]?\s?[+-]?(\d{{1,3}}(\.\d{{3}})+|\d+),\d+\s?[{SIGNS}]?$"
DATE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?$"
DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%m/%d/%y", "%d.%m.%y")
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S%.f")
LEADING_ZERO = r"^0\d"


@dataclass
class Kinds:
    """How texts were read: the format of each column of dates, and what a user should know."""

    dates: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def typed(table: pl.DataFrame, name: str, decimal: str, as_text: set[str]) -> tuple[pl.DataFrame, Kinds]:
    """A table with each column of texts as what it holds; those of `as_text` stay texts."""
    found = Kinds()
    columns = [
        s if s.name in as_text or s.dtype != pl.String else _typed(_unnamed(s), s.name, name, decimal, found)
        for s in table.get_columns()
    ]
    named = [column.alias(name) for column, name in zip(columns, table.columns, strict=True)]
    return pl.DataFrame(named), found


def numbers(texts: pl.Series, decimal: str = ".") -> pl.Series:
    """Texts as float64, null where the text is not a number."""
    if texts.str.contains("(", literal=True).any():
        negative = texts.str.contains(NEGATIVE)
        texts = texts.zip_with(~negative.fill_null(False), "-" + texts.str.strip_chars("() "))
    if decimal == ",":
        texts = texts.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
    plain = texts.cast(pl.Float64, strict=False)
    rest = plain.is_null() & texts.is_not_null()
    if not rest.any():
        return plain
    decorated = texts.str.contains(NUMBER) | texts.str.contains(GROUPED)
    cleaned = texts.str.replace_all(rf"[{SIGNS},\s]", "").cast(pl.Float64, strict=False)
    return plain.zip_with(~(rest & decorated), cleaned)


def dates(texts: pl.Series, form: str | None = None) -> tuple[pl.Series, str] | None:
    """Texts as days or moments, with their format; None where they have no format that is known."""
    known = texts.drop_nulls()
    if not len(known) or not known.head(20).str.contains(DATE).all():
        return None
    for day in DAYS:
        for time in TIMES:
            if form is not None and form != day + time:
                continue
            if known.head(20).str.to_datetime(day + time, strict=False, exact=True).null_count():
                continue
            kind = pl.Datetime("us") if time else pl.Date
            parsed = texts.str.strptime(kind, day + time, strict=False, exact=True)
            if parsed.null_count() == texts.null_count():
                return parsed, day + time
    return None


def missing_as_null(texts: pl.Series) -> pl.Series:
    """Without the spaces around, and null where a text says that there is no value."""
    stripped = texts.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


def missing_in_numbers_as_null(texts: pl.Series) -> pl.Series:
    """As `missing_as_null`, in a column that otherwise holds numbers."""
    known = missing_as_null(texts)
    return known.set(known.is_in(MISSING_IN_NUMBERS), None)


def simplified(values: pl.Series, where: str) -> pl.Series:
    """Numbers, texts, dates or true/false, of whatever a file holds; without its name.

    Raises:
        InputError: lists, bytes and the like.
    """
    values, kind = _unnamed(values), values.dtype
    if kind in (pl.Categorical, pl.Enum):
        return values.cast(pl.String)
    if kind == pl.Decimal or kind in (pl.UInt64, pl.Int128):
        return values.cast(pl.Float64)
    if kind == pl.Duration:
        return values.dt.total_microseconds() / 86_400e6  # days
    if kind == pl.Time:
        return values.to_physical() / 3_600e9  # hours
    if kind.is_numeric() or kind.is_temporal() or kind in (pl.String, pl.Boolean, pl.Null):
        return values
    raise InputError(f"{where} holds {kind}; numbers, texts, dates and true/false can be used")


def _unnamed(values: pl.Series) -> pl.Series:
    """A series' own methods go wrong where its name begins with ^ and ends with $, as polars' patterns do."""
    return values.alias("values")


def _typed(texts: pl.Series, name: str, file: str, decimal: str, found: Kinds) -> pl.Series:
    if decimal == ".":
        plain = _as_numbers(texts, texts.cast(pl.Float64, strict=False), name, found)
        if plain is not None:
            return plain
    texts = missing_as_null(texts)
    known = missing_in_numbers_as_null(texts)
    parsed = numbers(known, decimal)
    plain = _as_numbers(known, parsed, name, found)
    if plain is not None and known.count() and known.str.contains(NUMBERED).all():
        plain = None
    if plain is not None:
        gaps = texts.filter(known.is_null() & texts.is_not_null()).unique().sort()
        if len(gaps):
            found.notes.append(f"{name}: {' and '.join(map(repr, gaps))} among numbers is read as a gap")
        texts = known
        signs = texts.str.contains(rf"[{SIGNS}(]") | (
            texts.str.contains(",", literal=True) if decimal == "." else False
        )
        if signs.any():
            place = int(signs.arg_max() or 0)
            found.notes.append(f"{name}: {texts[place]!r} is read as {parsed[place]:g}")
        return plain
    lowered = texts.str.to_lowercase()
    if lowered.is_in(["true", "false"]).fill_null(True).all():
        return lowered == "true"
    read = dates(texts)
    if read is not None:
        found.dates[name] = read[1]
        other = {"%m/%d": "%d/%m", "%m-%d": "%d-%m"}.get(read[1][:5])
        if other and dates(texts, other + read[1][5:]) is not None:
            found.notes.append(
                f"{name}: {texts.drop_nulls()[0]!r} is read as month and day, and could be day and month"
            )
        return read[0]
    _refuse_commas(texts, parsed, name, file)
    return texts


def _as_numbers(texts: pl.Series, parsed: pl.Series, name: str, found: Kinds) -> pl.Series | None:
    """Numbers, whole ones where all are; None where a text is none, or has a zero in front that numbers lose."""
    if parsed.null_count() > texts.null_count() or parsed.null_count() == len(parsed):
        return None if len(texts) > texts.null_count() or not len(texts) else texts.cast(pl.Null, strict=False)
    if texts.str.contains(LEADING_ZERO).any() and texts.str.contains(r"^\d+$").fill_null(True).all():
        place = int(texts.str.contains(LEADING_ZERO).arg_max() or 0)
        found.notes.append(
            f"{name}: {texts[place]!r} has a zero in front, so these are taken for codes and not for numbers"
        )
        return texts
    whole = texts.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == parsed.null_count() else parsed.fill_nan(None)


def _refuse_commas(texts: pl.Series, parsed: pl.Series, name: str, file: str) -> None:
    """Numbers with a decimal comma are no categories."""
    commas = texts.str.contains(COMMA) & parsed.is_null()
    known = len(texts) - texts.null_count()
    if known and commas.any() and (commas | parsed.is_not_null()).sum() > 0.5 * known:
        place = int(commas.arg_max() or 0)
        raise InputError(
            f"{file}: {name!r} looks like numbers with a decimal comma ({texts[place]!r} in row {place + 1}): "
            f"pass --decimal , or leave the column out with --exclude {shlex.quote(name)}"
        )
