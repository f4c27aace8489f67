"""How often the checks name a bug of programs that were not written beside them, and how often they raise an alarm.

The programs are bugs from public threads, the same programs mended, and healthy programs (`public_bugs` and
`healthy_programs` in `tests/corpus`), each with the day on which it was collected. What the checks made of those of a
day before anything was mended for them is kept in `results/checks_first_DAY.json`, written by the second command on the
commit that it names. A bug is named if one of the codes that its author accepts is among the FAILs and WARNs.

Run: python benchmarks/public_programs.py                      (a minute)
     python benchmarks/public_programs.py first 2026-11-30
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import machine

from corpus.healthy_programs import HEALTHY
from corpus.public_bugs import BUGS, MENDED
from torchbce.checks.catalogue.finding import Level

warnings.simplefilter("ignore")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Tried:
    """A program, and the codes of its FAILs and WARNs; "crash" if it ends in an error."""

    program: Any
    fails: list[str]
    warns: list[str]

    @property
    def named(self) -> bool:
        return bool({*self.fails, *self.warns} & {*self.program.codes})


def tried(program: Any) -> Tried:
    try:
        found = program.run().issues
    except Exception:  # it must not end so, whatever the program
        return Tried(program, ["crash"], [])
    fails = [f.code for f in found if f.level is Level.FAIL]
    return Tried(program, fails, [f.code for f in found if f.level is Level.WARN])


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)"


def scores(day: str) -> tuple[dict[str, str], list[list[str]]]:
    """What the checks make of the programs that were collected on a day, and each that is wrong."""
    bugs, mended, fine = ([tried(p) for p in found if p.seen == day] for found in (BUGS, MENDED, HEALTHY))
    claimed = [t for t in bugs if t.program.claimed]
    healthy = mended + fine
    row = {
        "bugs named": share(sum(t.named for t in bugs), len(bugs)),
        "of those a code claims": share(sum(t.named for t in claimed), len(claimed)),
        "healthy programs": f"{len(healthy)}",
        "with a FAIL": f"{sum(bool(t.fails) and t.fails != ['crash'] for t in healthy)}",
        "with a WARN": f"{sum(bool(t.warns) and not t.fails for t in healthy)}",
        "crashes": f"{sum(t.fails == ['crash'] for t in bugs + healthy)}",
    }
    missed = [
        [t.program.name, ", ".join(t.program.codes), ", ".join(t.fails + t.warns) or "-"] for t in bugs if not t.named
    ]
    alarms = [[t.program.name, "none", ", ".join(t.fails + t.warns)] for t in healthy if t.fails or t.warns]
    return row, missed + alarms


def first_seen(day: str) -> Path:
    return RESULTS / f"checks_first_{day}.json"


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, cwd=RESULTS.parents[1]
    ).stdout.strip()


def keep_first(day: str) -> None:
    """Write down what the checks make of a day's programs, with the last commit that changed the package."""
    if git("status", "--porcelain", "--", "src"):
        raise SystemExit("src/ has changes that are not committed: the results would belong to no commit")
    row, wrong = scores(day)
    commit = git("log", "-1", "--format=%h", "--", "src")
    found = {"commit": commit, "machine": machine.describe(), "scores": row, "wrong": wrong}
    first_seen(day).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def programs() -> tuple[list[list[str]], list[list[str]]]:
    """Those of others by day: as they were found and now, and what is not named now or gives an alarm."""
    rows, wrong = [], []
    for day in sorted({program.seen for program in BUGS}):
        row, of_day = scores(day)
        if first_seen(day).exists():
            first = json.loads(first_seen(day).read_text(encoding="utf-8"))
            rows.append([f"{day}, first seen, commit {first['commit']}", *first["scores"].values()])
        rows.append([f"{day}, now", *row.values()])
        wrong += of_day
    return [["programs collected on", *row], *rows], wrong


def main() -> None:
    rows, wrong = programs()
    print(machine.table(rows[0], rows[1:]), machine.table(["program", "right", "torchbce"], wrong), sep="\n\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        keep_first(sys.argv[2])
    else:
        main()
