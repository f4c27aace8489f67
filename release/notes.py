"""What the changelog says of a release, once tag, version and changelog agree.

Run: python release/notes.py v0.1.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version(root: Path = ROOT) -> str:
    """As the source says it, without an import."""
    source = (root / "src" / "torchbce" / "__init__.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "([^"]+)"$', source, re.M)
    return str(found)


def notes(tag: str, root: Path = ROOT) -> str:
    """The section `## 0.1.0 - 2026-11-27` of the changelog, for the tag v0.1.0.

    Raises:
        ValueError: tag, version and changelog do not agree.
    """
    here = version(root)
    if tag != f"v{here}":
        raise ValueError(
            f"the tag is {tag!r} and __version__ is {here!r}; write the tag v{here}, or change the version"
        )
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", changelog, flags=re.M)[1:]
    texts = [text for text in sections if re.match(rf"\[?{re.escape(here)}\]?( - \d{{4}}-\d\d-\d\d)?$", _title(text))]
    if len(texts) != 1:
        titles = ", ".join(repr(_title(text)) for text in sections)
        raise ValueError(f"CHANGELOG.md has the sections {titles}; it needs one called '{here} - YEAR-MONTH-DAY'")
    return texts[0].partition("\n")[2].strip() + "\n"


def _title(section: str) -> str:
    return section.partition("\n")[0].strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(notes(sys.argv[1]), end="")
    except ValueError as why:
        sys.exit(f"release/notes.py: {why}")
