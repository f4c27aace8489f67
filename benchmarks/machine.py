"""What every benchmark prints first, and how it keeps its table."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe(*packages: str) -> str:
    """Processor, cores, versions and the date, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores; Python {python}, {versions}; {datetime.date.today()}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A markdown table, its first column left-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def keep(name: str, text: str) -> None:
    """Print a result and keep it in benchmarks/results."""
    print(text)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
