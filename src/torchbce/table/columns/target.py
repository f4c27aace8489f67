"""The yes/no column: which value counts as 1."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from torchbce.common.errors import InputError
from torchbce.common.visible import shown
from torchbce.io.yes_no import NO, YES


class Target(BaseModel):
    """The target column and its two values, as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    positive: str
    negative: str

    @property
    def predicted(self) -> str:
        """The event whose probability a model gives, in words."""
        return f"the probability that {shown(self.column)} is {shown(self.positive)}, not {shown(self.negative)}"

    @property
    def values(self) -> tuple[str, str]:
        """Both values."""
        return self.negative, self.positive

    @classmethod
    def of(cls, values: list[str], column: str, positive: str | None, file: str) -> Target:
        """Return the target with these values; the positive one is named, or known (1, true, yes), or sorted last.

        Raises:
            InputError: one value only, or `positive` is none of the two.
        """
        if len(values) == 1:
            raise InputError(
                f"{file}: the target column {column!r} holds one value only, {values[0]!r}; two are needed to learn "
                "from"
            )
        if positive is not None:
            chosen = [value for value in values if value == positive or _same_number(value, positive)]
            if not chosen:
                raise InputError(
                    f"{file}: the target column {column!r} has no value {positive!r} to be the positive one; "
                    f"its values are {values[0]!r} and {values[1]!r}"
                )
        else:
            chosen = [value for value in values if value.lower() in YES]
            other = [value for value in values if value.lower() in NO]
            chosen = chosen if chosen and other else [max(values, key=_order)]
        negative = next(value for value in values if value != chosen[0])
        return cls(column=column, positive=chosen[0], negative=negative)


def _same_number(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return a.lower() == b.lower() if {a.lower(), b.lower()} <= {"true", "false"} else False


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return 0.0, value
