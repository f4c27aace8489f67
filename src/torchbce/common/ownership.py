"""Whose a file is: what is trusted must be this user's own, and nobody else may be able to write to it."""

from __future__ import annotations

import os
import stat

__all__ = ["is_others", "is_own"]

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_own(status: os.stat_result) -> bool:
    """Return whether a file or folder is this user's and nobody else can write to it; True where there are no users."""
    return not is_others(status) and not (hasattr(os, "geteuid") and status.st_mode & OTHERS_WRITE)


def is_others(status: os.stat_result) -> bool:
    """Return whether it belongs to another user."""
    return hasattr(os, "geteuid") and status.st_uid != os.geteuid()
