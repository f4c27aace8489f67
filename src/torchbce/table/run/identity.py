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
from torchbce.io.opened import Format
from torchbce.table.columns.roles import Roles
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.run.folder import described_run
from torchbce.table.splits.held import Held

PROCESSOR = "the processor"
RUN = "run"  # in a finished run's `training`: the digest of what it depended on


def identity(
    tables: dict[str, str],
    roles: Roles,
    held: Held,
    user_options: UserOptions,
    *,
    seed: int,
    compare: bool,
    format: Format | None = None,
) -> dict[str, Any]:
    """By the names that a user knows; `tables` are the names and digests of what is read."""
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


def digest(whole: dict[str, Any]) -> str:
    """Of an identity."""
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_finished(folder: Path, whole: dict[str, Any]) -> bool:
    """Whether a folder holds this very run, finished."""
    try:
        return described_run(folder).training.get(RUN) == digest(whole)
    except RunFolderError:
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
