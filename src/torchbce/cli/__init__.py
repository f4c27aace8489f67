"""The command `torchbce`."""

from __future__ import annotations

import sys
import warnings

# What the extra `train` brings, by the names of imports.
TRAIN = ("jinja2", "matplotlib", "polars", "pydantic", "rich", "safetensors", "sklearn", "typer", "zstandard")


def main() -> None:
    """Run the command; says what to install where the extra packages are missing, all of them or some."""
    try:
        from torchbce.cli.app import app
        from torchbce.cli.output import warning_line

        warnings.formatwarning = warning_line
        app()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in TRAIN:
            raise
        print(f"torchbce: the command needs {missing}; install it with: pip install 'torchbce[train]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # while torch was being imported; later the commands see to it
        sys.exit(130)
