"""Commands that have to give an answer."""

from __future__ import annotations

ALLOWED = {0, 2, 3, 4, 5, 6}


def answer(found, what):
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise AssertionError(what) from found.exception
    assert found.exit_code in ALLOWED, (what, found.exit_code)
    assert "Traceback" not in found.output, what
    if found.exit_code not in (0, 6):
        assert found.stderr.strip(), what
    assert "\x1b[31m" not in found.output, what
