"""The command `torchbce`."""

from __future__ import annotations

import sys
import warnings

from torchbce.common.extras import how_to_install


def main() -> None:
    """Run the command, or print what to install where a package is missing."""
    try:
        from torchbce.cli.app import app
        from torchbce.cli.shared.output import warning_line

        warnings.formatwarning = warning_line
        app()
    except ModuleNotFoundError as error:
        message = how_to_install("the command", error)
        if message is None:
            raise
        print(f"torchbce: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # while torch was being imported; later the commands see to it
        sys.exit(130)
