"""Which column is the target, and which have a role of their own: weight, group, time."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchbce.common.errors import InputError


@dataclass(frozen=True)
class ColumnRoles:
    """The names of columns that are not to be learnt from like the others."""

    target: str
    positive: str | None = None
    exclude: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    weight: str | None = None
    group: str | None = None
    time: str | None = None

    @property
    def flags(self) -> list[tuple[list[str], str]]:
        """Columns, by the option that names them."""
        single = {"--target": self.target, "--weight": self.weight, "--group": self.group, "--time": self.time}
        given = [([name], flag) for flag, name in single.items() if name is not None]
        return [*given, (self.exclude, "--exclude"), (self.categorical, "--categorical")]

    @property
    def not_learnt_from(self) -> set[str]:
        """Columns that no model learns from."""
        return {*self.exclude, self.target, *(name for name in (self.weight, self.group) if name is not None)}

    def require_apart(self, table: str) -> None:
        """No column has two roles that contradict each other.

        Raises:
            InputError: naming the column and both options.
        """
        if self.target in self.exclude or self.target in self.categorical:
            raise InputError(
                f"{table}: the target column {self.target!r} cannot be named in --exclude or --categorical"
            )
        others = [(self.weight, "--weight"), (self.group, "--group"), (self.time, "--time")]
        pairs = [((self.target, "--target"), other) for other in others] + [
            (others[1], others[0]),
            (others[1], others[2]),
        ]
        for (column, first), (other, second) in pairs:
            if column is not None and column == other:
                raise InputError(
                    f"{table}: the column {column!r} is named by {first} and by {second}; name another one"
                )
