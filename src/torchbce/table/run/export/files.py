"""Write a run folder's model for other runtimes, in the format that the file's name says."""

from __future__ import annotations

from pathlib import Path

import torch

from torchbce.common.errors import InputError
from torchbce.common.extras import require_packages
from torchbce.io.files import write_bytes
from torchbce.table.columns.columns import NumericColumn
from torchbce.table.model import Model
from torchbce.table.run.export.module import ProbabilityModule
from torchbce.table.run.export.onnx import to_onnx
from torchbce.table.run.folder import load_model

FORMATS = ".onnx, or .pt2 for torch.export"


def export(run: Path, out: Path) -> str:
    """Write the file, and return a sentence on its inputs and outputs.

    Raises:
        RunFolderError: it is not a whole run folder.
        InputError: another format, or onnx is not installed.
        OutputError: it cannot be written.
    """
    described, model = load_model(run)
    suffix = out.suffix.lower()
    if suffix == ".pt2":
        write_bytes(out, exported_program(model))
        return "numbers (N, columns) float64 with NaN at gaps and codes (N, columns) int64 to probabilities (N,)"
    if suffix != ".onnx":
        raise InputError(f"{out} ends with {suffix or 'nothing'!r}; models are exported as {FORMATS}")
    target = described.target
    notes = {"target": target.column, "positive": target.positive, "negative": target.negative}
    require_packages("an .onnx file", "onnx", error=InputError)
    graph = to_onnx(model, notes | {"torchbce": described.versions.get("torchbce", "unknown")})
    write_bytes(out, graph.SerializeToString())
    return "a column each, numbers as float64 with NaN at gaps and texts as strings, to probability and logit"


def exported_program(model: Model) -> bytes:
    """Return the bytes of a model that `torch.export` saves."""
    import io

    module = ProbabilityModule(model).eval()
    numeric = sum(isinstance(column, NumericColumn) for column in model.columns)
    coded = len(model.columns) - numeric
    examples = torch.zeros(4, numeric, dtype=torch.float64), torch.zeros(4, coded, dtype=torch.int64)
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(module, examples, dynamic_shapes=({0: rows}, {0: rows}))
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()
