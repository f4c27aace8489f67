"""`torchbce export`: a model for other runtimes."""

from __future__ import annotations

from torchbce.cli.export.options import ExportOptions
from torchbce.cli.shared.files_out import check_outputs
from torchbce.cli.shared.output import print_err
from torchbce.common.errors import OutputError
from torchbce.table.run.export.files import export


def run(options: ExportOptions) -> None:
    """Write the file and print what the model takes."""
    check_outputs({"FILE": options.file}, [])
    if options.file.exists() and not options.overwrite:
        raise OutputError(f"{options.file} exists already; name another file, or pass --overwrite")
    print_err(f"saved     {options.file}: {export(options.run, options.file)}")
