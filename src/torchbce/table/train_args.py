"""The arguments of a training on a table: all that a run depends on, besides the content of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchbce.io.source import Format
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.splits.holdout import Holdout


@dataclass(frozen=True)
class TrainArgs:
    """A table, the roles of its columns, how rows are kept aside for the estimate, and how the model is trained."""

    table: str
    roles: ColumnRoles
    held: Holdout = field(default_factory=Holdout)
    options: UserOptions = field(default_factory=UserOptions)
    seed: int = 0
    compare: bool = False
    format: Format = field(default_factory=Format)

    @property
    def tables(self) -> list[str]:
        """All tables that are read."""
        return [name for name in (self.table, self.held.file) if name is not None]
