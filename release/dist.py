"""A release in dist/: built, checked, and tried in empty environments as a stranger would.

What is tried comes from the archives alone: the wheel is built from the sdist, and README, constraints and examples are
those that the sdist holds, unpacked in a folder for temporary files. Nothing of the working tree can be imported.

Run: make dist, or, for archives that are in dist/ already, python release/dist.py --built
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGE = "torchbce"
# All that an sdist has at its top. Tests and benchmarks are for a clone.
TOP = {
    *("src", "examples", "pyproject.toml", "MANIFEST.in", "constraints.txt"),
    *("README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "CITATION.cff"),
    *("PKG-INFO", "setup.cfg"),  # setuptools writes these two
}
NEEDS_TRAIN = "install it with: pip install 'torchbce[train]'"

# The article's three items: what the imported loss gives, and where it was imported from.
IMPORT_LINE = """
import pathlib, sys, torch, torchbce
{line}
output, target = torch.tensor([0.60, 0.20, 0.70]), torch.tensor([1.0, 0.0, 1.0])
ours, theirs = {name}()(output, target), torch.nn.{name}()(output, target)
assert torch.allclose(ours, theirs), (ours, theirs)
assert pathlib.Path(torchbce.__file__).is_relative_to(sys.prefix), torchbce.__file__
print("{line}:", round(ours.item(), 4))
"""


class Refused(Exception):
    """Something that a release must not have."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--built", action="store_true", help="take the archives that are in dist/")
    if not parser.parse_args().built:
        step("build an sdist, and a wheel from it", build)
    sdist, wheel = only("*.tar.gz"), only("*.whl")
    step("twine and check-wheel-contents", lambda: check_archives(sdist, wheel))
    step("every file of the package, and nothing else", lambda: check_contents(sdist, wheel))
    with tempfile.TemporaryDirectory(prefix="torchbce-dist-") as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        source = Path(folder) / sdist.name.removesuffix(".tar.gz")
        for extras, use in (("", use_without_extras), ("[train]", use_train), ("[all]", use_all)):
            with Stranger.arrives(Path(folder) / "stranger", source) as stranger:
                step(f"install torchbce{extras}", lambda who=stranger, what=extras: who.install(f"{wheel}{what}"))
                step(f"use torchbce{extras}", lambda who=stranger, how=use: how(who))
    print(f"\n{sdist.relative_to(ROOT)} and {wheel.relative_to(ROOT)} are ready")


def step(what: str, do: Callable[[], object]) -> None:
    print(f"\n== {what}", flush=True)
    began = time.perf_counter()
    do()
    print(f"-- {time.perf_counter() - began:.0f} s", flush=True)


def build() -> None:
    for old in (*DIST.glob(f"{PACKAGE}-*.whl"), *DIST.glob(f"{PACKAGE}-*.tar.gz")):
        old.unlink()
    tool("build", "--outdir", DIST, ROOT)


def check_archives(sdist: Path, wheel: Path) -> None:
    tool("twine", "check", "--strict", sdist, wheel)
    tool("check_wheel_contents", wheel)


def check_contents(sdist: Path, wheel: Path) -> None:
    """Both archives hold each file of src/torchbce; a kind of file that pyproject.toml forgets would be missing."""
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if not name.endswith("/")}
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    info = f"{PACKAGE}-{version_of(wheel)}.dist-info/"
    same("the wheel", {name for name in in_wheel if not name.startswith(info)}, expected)
    packed = {name.removeprefix("src/") for name in in_sdist if name.startswith(f"src/{PACKAGE}/")}
    same("the sdist's src", packed, expected)
    same("the top of the sdist", {name.partition("/")[0] for name in in_sdist}, TOP)
    print(f"{len(expected)} files of the package; {len(in_wheel)} in the wheel, {len(in_sdist)} in the sdist")


def same(where: str, found: set[str], expected: set[str]) -> None:
    missing, more = sorted(expected - found), sorted(found - expected)
    if missing or more:
        raise Refused(f"{where} lacks {missing or 'nothing'} and has besides {more or 'nothing'}")


@dataclass
class Stranger:
    """Someone in a folder with an empty environment and an unpacked sdist to read in."""

    folder: Path
    source: Path

    @classmethod
    def arrives(cls, folder: Path, source: Path) -> Stranger:
        folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        return cls(folder, source)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)  # torch is large: one environment at a time

    def install(self, what: str) -> None:
        """With the pinned versions, torch's too."""
        constraints = self.source / "constraints.txt"
        options = ["--quiet", "--disable-pip-version-check", "-c", str(constraints)]
        self.run(["python", "-m", "pip", "install", *options, what])

    def run(self, command: list[str], *, status: int = 0) -> str:
        """A command of this environment; what it printed, its errors too."""
        print("$", shlex.join(command), flush=True)
        program = self.folder / "venv" / "bin" / command[0]
        found = subprocess.run(
            [program, *command[1:]],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(found.stdout, end="", flush=True)
        if found.returncode != status:
            raise Refused(f"{shlex.join(command)} ended with status {found.returncode}, expected {status}")
        return found.stdout

    def _environment(self) -> dict[str, str]:
        left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        path = f"{self.folder / 'venv' / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"PATH": path, "TORCHBCE_CACHE": str(self.folder / "cache")}


def use_without_extras(stranger: Stranger) -> None:
    """The README's first code, its Python blocks, and what the command says."""
    readme = (stranger.source / "README.md").read_text(encoding="utf-8")
    line = first(r"^\+(from torchbce import (\w+))$", readme)
    stranger.run(["python", "-c", IMPORT_LINE.format(line=line[1], name=line[2])])
    stranger.run(["python", str(stranger.source / "examples" / "readme.py")])
    said = stranger.run(train_command(readme), status=2)
    if NEEDS_TRAIN not in said:
        raise Refused(f"without extras `torchbce train` said {said!r}, expected: ... {NEEDS_TRAIN}")


def use_train(stranger: Stranger) -> None:
    """The README's command on its table, and what it says to do next."""
    readme = (stranger.source / "README.md").read_text(encoding="utf-8")
    command = train_command(readme)
    stranger.run(["torchbce", "--version"])
    stranger.run(["python", str(stranger.source / "examples" / "breast_cancer.py"), command[2]])
    stranger.run(command)
    run = f"runs/{Path(command[2]).stem}"
    stranger.run(["torchbce", "predict", run, command[2], "--out", "predictions.csv"])
    stranger.run(["torchbce", "explain", run])


def use_all(stranger: Stranger) -> None:
    use_train(stranger)
    stranger.run(["torchbce", "export", "runs/breast_cancer", "model.onnx"])


def train_command(readme: str) -> list[str]:
    return shlex.split(first(r"^\$ (torchbce train .+)$", readme)[1])


def first(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.M)
    if found is None:
        raise Refused(f"the README has no line like {pattern}")
    return found


def tool(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


def only(pattern: str) -> Path:
    found = sorted(DIST.glob(f"{PACKAGE}-{pattern}"))
    if len(found) != 1:
        raise Refused(f"dist/ has {len(found)} files {PACKAGE}-{pattern}, expected 1")
    return found[0]


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


if __name__ == "__main__":
    try:
        main()
    except Refused as why:
        sys.exit(f"release/dist.py: {why}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"release/dist.py: {shlex.join(map(str, failed.cmd))} ended with status {failed.returncode}")
