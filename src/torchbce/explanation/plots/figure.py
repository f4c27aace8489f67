"""What all pictures share: colours that colour-blind people tell apart, new axes, and SVG for the report."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#2f6fb5", "#d9730d", "#2e8b57", "#777777"
# In a page the colours are those of its style, so that they follow a dark screen.
STYLES = {
    BLUE: "var(--item)",
    ORANGE: "var(--more)",
    GREEN: "var(--less)",
    GREY: "var(--faint)",
    "#000000": "currentColor",
    "#262626": "currentColor",
}


def axes_or_new(ax: Any, width: float = 6.4, height: float = 4.0) -> Any:
    """The axes given, or those of a new figure; needs no display and leaves pyplot's state alone."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'torchbce[plot]'") from error
    if ax is None:
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element in the page's own colours, the same bytes for the same picture."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "torchbce", "svg.fonttype": "none"}):
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub("|".join(STYLES), lambda found: STYLES[found[0]], text)


def with_canvas(figure: Figure) -> Figure:
    """The figure on a canvas whose pixels can be read."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure
