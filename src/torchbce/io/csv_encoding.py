"""Say which byte of a CSV file is not UTF-8."""

from __future__ import annotations

from torchbce.common.errors import InputError
from torchbce.io.source import SourceFile


def not_utf8(source: SourceFile, error: UnicodeDecodeError) -> InputError:
    """Return the error that names the first byte that is not UTF-8, and an encoding to try."""
    data = source.path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as first:  # whose position counts from the start of the file, not of a chunk
        error = first
    line = data.count(b"\n", 0, error.start) + 1
    likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
    return InputError(
        f"{source.name} is not UTF-8: line {line} holds the byte 0x{data[error.start]:02x}; pass its encoding, such as "
        f"--encoding {likely}"
    )
