"""A wheel with the C++ node for this machine's torch and Python, for those who have no compiler.

It is installed beside torchbce, which finds the node in it if everything fits, and does without if not.

Run: python release/node_wheel.py FOLDER
"""

from __future__ import annotations

import base64
import hashlib
import sys
import sysconfig
import zipfile
from pathlib import Path

import torch

import torchbce
from torchbce.engine.cpp_node import build
from torchbce.engine.cpp_node.load import PACKAGE

SUMMARY = "The C++ node of torchbce, compiled for one version of torch and Python"


def write_wheel(folder: Path, library: bytes) -> Path:
    """The wheel, named after the versions that it is for."""
    base = torch.__version__.split("+")[0]
    version = f"{torchbce.__version__}+torch{base}"
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    info = f"{PACKAGE}-{version}.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {PACKAGE}",
        f"Version: {version}",
        f"Summary: {SUMMARY}",
        f"Requires-Dist: torchbce=={torchbce.__version__}",
        f"Requires-Dist: torch=={base}",
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: torchbce", "Root-Is-Purelib: false", f"Tag: {tag}"]
    files = {
        f"{PACKAGE}/__init__.py": f'"""{SUMMARY}."""\n'.encode(),
        f"{PACKAGE}/{build.identity()}.so": library,
        f"{info}/METADATA": "\n".join([*metadata, ""]).encode(),
        f"{info}/WHEEL": "\n".join([*wheel, ""]).encode(),
    }
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{PACKAGE}-{version}-{tag}.whl"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return made


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    print(write_wheel(Path(sys.argv[1]), build.compiled()))
