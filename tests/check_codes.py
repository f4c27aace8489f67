"""What a report of checks found."""

from __future__ import annotations


def codes(found):
    return [finding.code for finding in found.issues]
