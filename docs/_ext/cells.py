"""Shell cells: shown without the line that tells IPython what they are, and their output in whole lines."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from myst_nb.core import render

MAGIC = "%%bash\n"


def setup(app: Any) -> dict[str, bool]:
    merge = render.coalesce_streams
    render.coalesce_streams = lambda outputs: merge(joined(outputs))
    app.connect("doctree-read", without_magic)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def without_magic(app: Any, tree: nodes.document) -> None:
    for block in tree.findall(nodes.literal_block):
        text = block.astext()
        if text.startswith(MAGIC):
            shown = text.removeprefix(MAGIC)
            block.rawsource = shown
            block["language"] = "bash"
            block.children = []
            block += nodes.Text(shown)


def joined(outputs: list[Any]) -> list[Any]:
    """IPython sends what a shell prints in pieces of 100 characters; MyST-NB would begin a line with each."""
    found: list[Any] = []
    for output in outputs:
        same = found and output["output_type"] == found[-1]["output_type"] == "stream"
        if same and output["name"] == found[-1]["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found
