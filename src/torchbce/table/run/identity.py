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
from torchbce.io.source import Format
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.run.folder import read_model_file
from torchbce.table.splits.holdout import Holdout

PROCESSOR = "the processor"
RUN = "run"  # in a finished run's `training`: the digest of what it depended on


def run_identity(
    tables: dict[str, str],
    roles: ColumnRoles,
    held: Holdout,
    user_options: UserOptions,
    *,
    seed: int,
    compare: bool,
    format: Format | None = None,
) -> dict[str, Any]:
    """Return what a run depends on, by names that a user knows; `tables` are the names and digests of its tables."""
    options = {
        **asdict(roles),
        "test": held.file,
        "test_share": held.share,
        "folds": held.folds,
        **asdict(user_options),
        **asdict(format or Format()),
        "seed": seed,
        "compare": compare,
    }
    return {
        **{f"the table {name}": f"content {digest[:16]}" for name, digest in tables.items()},
        **{f"--{name.replace('_', '-')}": _plain(value) for name, value in options.items()},
        **versions(*NUMBERS, *TABLES),
        PROCESSOR: platform.machine(),
    }


def identity_digest(identity: dict[str, Any]) -> str:
    """Return the digest of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def is_finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Return whether a folder holds this very run, finished."""
    try:
        return read_model_file(folder).training.get(RUN) == identity_digest(identity)
    except RunFolderError:
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
