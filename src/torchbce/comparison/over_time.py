"""The mean loss over periods, each with its interval, and where it moved by more than luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks, around, counted, percent
from torchbce.common.visible import shown
from torchbce.comparison.periods import Change, what_changed
from torchbce.explanation.explain import Explanation


@dataclass(frozen=True)
class OverTime(PrintedInNotebooks):
    """Periods in order of time. changes: of each period from the one before, see :class:`Change`."""

    names: tuple[str, ...]
    explanations: tuple[Explanation, ...]
    changes: tuple[Change, ...]

    @property
    def verdict(self) -> str:
        """Return where the mean moved by more than luck, and its change over the whole time."""
        moved = [change for change in self.changes if change.total.is_certain]
        whole = what_changed(self.explanations[0], self.explanations[-1], (self.names[0], self.names[-1]))
        steps = ", ".join(f"{shown(change.names[1])} ({change.total.nats:+.2g})" for change in moved)
        # Of twenty steps that are luck, one is taken for a change.
        sentence = f"More than luck from one period to the next: {steps}." if moved else "No step is more than luck."
        return f"From {shown(self.names[0])} to {shown(self.names[-1])}: {whole.verdict} {sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Return every number, for JSON."""
        periods = [
            {"name": name} | explained.to_dict() for name, explained in zip(self.names, self.explanations, strict=True)
        ]
        changes = [asdict(change) | {"verdict": change.verdict} for change in self.changes]
        return plain({"periods": periods, "changes": changes, "verdict": self.verdict})  # type: ignore[no-any-return]

    def __str__(self) -> str:
        names = list(map(shown, self.names))
        width = max(6, *map(len, names))
        lines = [self.verdict, "", f"{'period':<{width}}      items  base rate  mean loss, 95 %"]
        for name, explained in zip(names, self.explanations, strict=True):
            parts, extra = explained.decomposition, ""
            if parts is not None:
                extra = f"   separation {parts.discrimination:.4f}, miscalibration {parts.miscalibration:.4f}"
            mean = around(explained.weighted_mean, explained.intervals["mean"], ".4f")
            lines.append(f"{name:<{width}}  {explained.count:>9,}  {percent(explained.base_rate):>9}  {mean}{extra}")
        return "\n".join(lines)


def over_time(names: Sequence[str], explanations: Sequence[Explanation]) -> OverTime:
    """Compare each of two periods or more, in order of time, with the one before.

    Raises:
        ValueError: fewer.
    """
    if len(names) < 2:
        raise ValueError(f"there is {counted(len(names), 'period')}; a change takes two")
    changes = tuple(
        what_changed(explanations[i], explanations[i + 1], (names[i], names[i + 1])) for i in range(len(names) - 1)
    )
    return OverTime(tuple(names), tuple(explanations), changes)
