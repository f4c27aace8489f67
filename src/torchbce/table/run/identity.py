"""What a run depends on: with the same of all of it, it ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torchbce.common.errors import RunFolderError
from torchbce.common.versions import NUMBERS, TABLES, versions
from torchbce.table.run.folder import read_model_file
from torchbce.table.train_args import TrainArgs

PROCESSOR = "the processor"
RUN = "run"  # in a finished run's `training`: the digest of what it depended on


def run_identity(args: TrainArgs, tables: dict[str, str]) -> dict[str, Any]:
    """Return what a run depends on, by the names that a user knows. tables: names and digests of what is read."""
    format = asdict(args.format)
    del format["named"]  # by the options that are here already
    options = {
        **asdict(args.roles),
        "test": args.held.file,
        "test_share": args.held.share,
        "folds": args.held.folds,
        **asdict(args.options),
        **format,
        "seed": args.seed,
        "compare": args.compare,
    }
    return {
        **{f"the table {name}": f"content {digest[:16]}" for name, digest in tables.items()},
        **{f"--{name.replace('_', '-')}": _plain(value) for name, value in options.items()},
        **versions(*NUMBERS, *TABLES),
        PROCESSOR: platform.machine(),
    }


def identity_digest(whole: dict[str, Any]) -> str:
    """Return the digest of an identity."""
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Return whether a folder holds this very run, finished."""
    try:
        return read_model_file(folder).training.get(RUN) == identity_digest(identity)
    except RunFolderError:
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
