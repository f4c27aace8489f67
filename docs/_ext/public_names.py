"""A public name without an entry in the reference is a warning, and warnings are errors."""

from __future__ import annotations

from typing import Any

from sphinx.util import logging

import torchbce


def setup(app: Any) -> dict[str, bool]:
    app.connect("env-check-consistency", look)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def public_names() -> set[str]:
    """What the reference must have, by full name."""
    functions = {f"torchbce.functional.{name}" for name in torchbce.functional.__all__}
    return functions | {f"torchbce.{name}" for name in torchbce.__all__}


def look(app: Any, env: Any) -> None:
    missing = public_names() - env.get_domain("py").objects.keys()
    if missing:
        logging.getLogger(__name__).warning("the reference has no entry of %s", ", ".join(sorted(missing)))
