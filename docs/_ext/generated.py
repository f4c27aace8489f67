"""Pages that are made at build time: the command line from the commands, measured figures from benchmarks/results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Any) -> None:
    """Into the sources, where git ignores them."""
    docs = Path(app.srcdir)
    made = {docs / "reference" / "command-line.md": command_line(), docs / "generated" / "curve.html": curve()}
    made |= {docs / "measured" / file.name: file.read_text(encoding="utf-8") for file in RESULTS.glob("*.md")}
    for old in (docs / "measured").glob("*.md"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # an unchanged page is not built again
            path.write_text(text, encoding="utf-8")


def commands() -> dict[str, Any]:
    """The commands that `torchbce --help` names."""
    from typer.main import get_command

    from torchbce.cli.app import app

    return {name: command for name, command in get_command(app).commands.items() if not command.hidden}


def command_line() -> str:
    """A section for each command: what `--help` says, as lists that fit a narrow screen."""
    lines = ["# Command line", "", "Made from the commands themselves: what `torchbce COMMAND --help` says.", ""]
    lines += ["[Exit codes](../train.md#exit-codes) are the same for all of them.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#torchbce-{name}) | {_first_sentence(command)} |" for name, command in commands().items()]
    lines.append("")
    for name, command in commands().items():
        lines += [f"## torchbce {name}", "", *_of_command(name, command)]
    return "\n".join(lines) + "\n"


def _of_command(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=f"torchbce {name}")
    yield from (_escaped(command.help or ""), "", "```text", *_usage(command, context), "```", "")
    panels: dict[str, list[Any]] = {}
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            panels.setdefault(_panel(parameter), []).append(parameter)
    for panel, parameters in panels.items():
        yield from (f"**{panel}**", "")
        for parameter in parameters:
            written, text = parameter.get_help_record(context)
            yield from (f"`{written}`", f": {_escaped(text) or '-'}", "")


def _first_sentence(command: Any) -> str:
    return _escaped((command.help or "").split("\n\n")[0]).split(". ")[0].rstrip(".")


def _usage(command: Any, context: Any) -> list[str]:
    return [" ".join(["$", context.command_path, *command.collect_usage_pieces(context)])]


def _panel(parameter: Any) -> str:
    kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return getattr(parameter, "rich_help_panel", None) or kind


def _escaped(text: str) -> str:
    """As MyST would print it."""
    return re.sub(r"([*_\[\]<>`|])", r"\\\1", " ".join(text.split()))


def curve() -> str:
    """The draggable curve of a report with three items, without the rest of its page."""
    import tempfile

    import torchbce

    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        torchbce.explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False).to_html(report)
        page = report.read_text(encoding="utf-8")
    section = re.search(r'<section id="explorer".*?</section>', page, re.S)
    scripts = re.findall(r"<script.*?</script>", page, re.S)
    items = re.search(r'<table id="items">.*?</table>', page, re.S)  # the script sorts it; here it stays out of sight
    assert section, "the report has no section to explore"
    assert items, "the report has no table of items"
    body = re.sub(r"<h2>.*?</h2>|<p class=.screen.>.*?</p>", "", section[0]).replace(" hidden>", ">", 1)
    hidden = f'<div hidden><p><input id="filter" type="search"></p>{items[0]}</div>'
    return "\n".join(['<div class="explorer">', body, hidden, *scripts, "</div>"]) + "\n"
