"""`.. names::` at the top of a page of the reference: a table of the names that the page has entries of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils.statemachine import StringList
from entries import entries
from sphinx.ext.autosummary import Autosummary


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autosummary")
    app.add_directive("names", Names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Names(Autosummary):
    """autosummary's table, whose names nobody has to write: each with the first sentence of its docstring."""

    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[Any]:
        page = Path(self.env.doc2path(self.env.docname))
        self.options["nosignatures"] = True
        self.content = StringList([f"~{name}" for name in entries(page.read_text(encoding="utf-8"))], str(page))
        return super().run()

    def get_table(self, items: Any) -> list[Any]:
        """The table; docstrings name their neighbours without `torchbce`."""
        context = self.env.ref_context
        before, context["py:module"] = context.get("py:module"), "torchbce"
        try:
            return super().get_table(items)
        finally:
            context["py:module"] = before
