"""`torchbce predict`: predictions to the screen or to a file."""

from __future__ import annotations

import sys
from pathlib import Path

from torchbce.trainer.predict import predict
from torchbce.trainer.table.files import write_table


def run(folder: Path, file: Path, out: Path | None) -> None:
    """Predictions go to standard output or to `out`, all else to standard error."""
    predictions = predict(folder, file)
    for note in predictions.notes:
        print(f"note      {note}", file=sys.stderr)
    if predictions.bce is not None:
        print(f"bce       {predictions.bce:.6f} nats per item over {predictions.table.height:,} rows", file=sys.stderr)
    if out is None:
        sys.stdout.write(predictions.table.write_csv())
        sys.stdout.flush()
    else:
        write_table(predictions.table, out)
        print(f"saved     {out}: {', '.join(predictions.table.columns)}", file=sys.stderr)
