"""Columns that name rows, by the names that pandas and R give them where nobody chose one."""

from __future__ import annotations

import logging
import re

from torchbce.io.source import SourceFile

LOG = logging.getLogger(__name__)
ROW_NAMES = re.compile(r"^(Unnamed: 0(\.\d+)?|__index_level_0__|row\.?names)$")


def stored_row_names(names: list[str], source: SourceFile) -> list[str]:
    """Return the columns of a Parquet or Arrow file that hold row names, and log them; none that an option names."""
    if source.format.as_is:
        return []
    row_names = [name for name in names if ROW_NAMES.match(name) and name not in source.format.named]
    if not row_names or len(row_names) == len(names):
        return []
    LOG.info("%s: left out: row names in %s (kept by --as-is)", source.name, " and ".join(map(repr, row_names)))
    return row_names
