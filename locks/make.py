"""Write train.txt, dev.txt and docs.txt: what `make` installs besides torch, with the hashes of all files.

torch is left out: which of its builds fits differs from machine to machine, so `constraints.txt` alone names its
version.

Run: make lock; or python locks/make.py docs, for one of them
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = ("train", "dev", "docs")
LEFT_OUT = re.compile(r"^(torch|torchbce|nvidia-.*|cuda-.*)(==|$| )")
MARKERS = {"triton": "sys_platform == 'linux' and platform_machine == 'x86_64'"}
OPTIONS = ["--quiet", "--generate-hashes", "--no-annotate", "--no-header", "--strip-extras", "--allow-unsafe"]
NO_ADDRESSES = ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"]

# docs.txt goes into the environment that dev.txt is in, so what both name has one version.
AFTER = {"docs": "dev"}


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


def pinned(lock: str) -> str:
    """The versions of a lock, as constraints."""
    return "".join(re.split(r"[ ;\\]", block)[0] + "\n" for block in blocks(lock))


def main() -> None:
    for extra in sys.argv[1:] or EXTRAS:
        with tempfile.TemporaryDirectory() as folder:
            out, pins = Path(folder) / "lock.txt", Path(folder) / "pins.txt"
            pins.write_text(pinned((HERE / f"{AFTER[extra]}.txt").read_text()) if extra in AFTER else "")
            command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *NO_ADDRESSES, "--extra", extra]
            subprocess.run([*command, "-c", "constraints.txt", "-c", pins, "-o", out, "pyproject.toml"], check=True)
            (HERE / f"{extra}.txt").write_text(tidy(out.read_text()))


if __name__ == "__main__":
    main()
