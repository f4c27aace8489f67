"""The bill of materials of a release: what the extra `train` brings, in the versions that the tests ran with.

CycloneDX, of locks/train.txt; torch, which the lock leaves out, has the version of constraints.txt.

Run: python release/sbom.py FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from notes import ROOT, version


def requirements(root: Path = ROOT) -> str:
    """The lock, and torch."""
    (torch,) = re.findall(r"^torch==.*$", (root / "constraints.txt").read_text(encoding="utf-8"), re.M)
    return f"{torch}\n{(root / 'locks' / 'train.txt').read_text(encoding='utf-8')}"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"torchbce-{version()}.cdx.json"
    with tempfile.TemporaryDirectory() as place:
        listed, project = Path(place) / "requirements.txt", Path(place) / "pyproject.toml"
        listed.write_text(requirements(), encoding="utf-8")
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # the tool knows no versions from the source
        project.write_text(re.sub(r"^dynamic = .*$", f'version = "{version()}"', text, flags=re.M), encoding="utf-8")
        about = ["--pyproject", str(project), "--mc-type", "library"]
        options = [*about, "--output-reproducible", "--of", "JSON", "-o", str(out)]
        subprocess.run([sys.executable, "-m", "cyclonedx_py", "requirements", *options, str(listed)], check=True)
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
