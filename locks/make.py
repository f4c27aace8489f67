"""Write train.txt and dev.txt: what `make` installs besides torch, with the hash of every file that it may be.

torch is left out: which of its builds fits differs from machine to machine, so `constraints.txt` alone names its
version.

Run: make lock
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LEFT_OUT = re.compile(r"^(torch|torchbce|nvidia-.*|cuda-.*)(==|$| )")
MARKERS = {"triton": "sys_platform == 'linux' and platform_machine == 'x86_64'"}
OPTIONS = ["--quiet", "--generate-hashes", "--no-annotate", "--no-header", "--strip-extras", "--allow-unsafe"]
NO_ADDRESSES = ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"]


def blocks(text: str) -> list[str]:
    """One for each package."""
    found = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^#.*\n?", "", text))
    return [block.strip() for block in found if block.strip()]


def tidy(text: str) -> str:
    kept = []
    for block in blocks(text):
        name = re.split(r"[= ]", block)[0]
        if LEFT_OUT.match(f"{name} "):
            continue
        marker = MARKERS.get(name)
        kept.append(re.sub(r"^(\S+)", rf"\1 ; {marker}", block, count=1) if marker else block)
    return "\n".join(kept) + "\n"


def main() -> None:
    for extra in ("train", "dev"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "lock.txt"
            command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *NO_ADDRESSES, "--extra", extra]
            subprocess.run([*command, "-c", "constraints.txt", "-o", out, "pyproject.toml"], check=True)
            (HERE / f"{extra}.txt").write_text(tidy(out.read_text()))


if __name__ == "__main__":
    main()
