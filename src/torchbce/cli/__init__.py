"""The command `torchbce`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; says what to install where the extra packages are missing."""
    try:
        from torchbce.cli.app import app
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("torchbce"):
            raise
        print(
            f"torchbce: the command needs {error.name}; install it with: pip install 'torchbce[train]'", file=sys.stderr
        )
        sys.exit(2)
    except KeyboardInterrupt:  # while torch was being imported; later the commands see to it
        sys.exit(130)
    app()
