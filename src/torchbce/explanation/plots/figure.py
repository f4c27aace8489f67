"""What all pictures share: colours that colour-blind people tell apart, names as they are, and SVG for the report."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

from torchbce.common.extras import require_packages

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
_COLOURS = re.compile("|".join(STYLES))


def axes_or_new(ax: Any, width: float = 6.4, height: float = 4.0) -> Any:
    """Return the axes given, or those of a new figure; needs no display and leaves pyplot's state alone."""
    require_packages("plot()", "matplotlib")
    from matplotlib.figure import Figure

    if ax is None:
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


SHORT, LONG = 24, 60  # characters of a name that are shown beside one of many marks, and beside an axis
# Of each text that may hold a name: no mathematics between two dollars, and no TeX where the user has switched that on.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}


def add_legend(ax: Any, **more: Any) -> None:
    """Add a legend that shows labels as they are."""
    for text in ax.legend(frameon=False, fontsize=8, **more).get_texts():
        text.set(**LITERAL)


def to_svg(figure: Figure) -> str:
    """Return the figure as an SVG element in the page's own colours, the same bytes for the same picture."""
    import matplotlib

    buffer = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "torchbce", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser has its own fonts
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub("<[^>]*>", lambda tag: _COLOURS.sub(lambda match: STYLES[match[0]], tag[0]), text)  # no name's colour


def with_canvas(figure: Figure) -> Figure:
    """Put the figure on a canvas whose pixels can be read."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure
