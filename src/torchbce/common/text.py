"""Numbers as text, with the digits that matter, and a result as a notebook shows it."""

from __future__ import annotations

import html
import math


class PrintedInNotebooks:
    """Show a result in a notebook as `print` does; for classes that define `__str__`."""

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def percent(share: float) -> str:
    """Return a share in percent with three digits, so that a rare event is not 0.0 %."""
    return f"{100 * share:.3g} %"


def counted(count: int, thing: str) -> str:
    """Return '1 item' or '2,000 items'."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def loss_text(loss: float) -> str:
    """Return a loss with two digits behind the point, as in the article, or more where these would read 0.00."""
    return f"{loss:.2f}" if loss >= 0.095 or loss == 0 else f"{loss:.2g}"


def probability_text(p: float) -> str:
    """Return a probability with as many digits as show how far it is from 0 and from 1."""
    margin = min(p, 1 - p)
    if margin <= 0:
        return f"{p:g}"
    digits = 2
    while digits <= 8 and abs(round(p, digits) - p) > 0.002 * margin:  # so that the loss can be worked out again
        digits += 1
    return f"{p:.{digits}f}" if digits <= 8 else f"{p:.2e}" if p < 0.5 else f"1 - {1 - p:.1e}"


def between(interval: tuple[float, float], form: str, factor: float = 1.0) -> str:
    """Return 'from 0.1 to 0.2'."""
    low, high = interval
    return f"from {factor * low:{form}} to {factor * high:{form}}"


def around(value: float, interval: tuple[float, float], form: str, factor: float = 1.0) -> str:
    """Return '0.15 (0.1 to 0.2)', or '0.15' where the interval is NaN."""
    low, high = interval
    text = f"{factor * value:{form}}"
    return text if math.isnan(low) else f"{text} ({factor * low:{form}} to {factor * high:{form}})"
