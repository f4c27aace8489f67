"""Run the README's Python blocks with nothing but torchbce installed: `python examples/readme.py`."""

from __future__ import annotations

import re
from pathlib import Path


def main() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        file = Path(f"README block {number}")
        import linecache  # fused_loss reads the source of the functions that it is given

        linecache.cache[str(file)] = (len(block), None, block.splitlines(keepends=True), str(file))
        exec(compile(block, str(file), "exec"), names)
    print(f"{len(blocks)} blocks of the README ran")


if __name__ == "__main__":
    main()
