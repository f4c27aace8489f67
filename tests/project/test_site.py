"""The site's sources: every public name has an entry, every page a place, every cell and gallery program runs."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import browser
import torchbce
from root import ROOT
from site_extension import extension

DOCS = ROOT / "docs"
MADE = ("gallery", "generated", "measured")  # by the build
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
CELL_PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "file_format: mystnb" in page.read_text(encoding="utf-8")]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n((?::[\w-]+:[^\n]*\n)*)(.*?)^```", re.M | re.S)


def own_pages() -> list[Path]:
    """Those that somebody wrote."""
    pages = [page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in MADE]
    return sorted(page for page in pages if page.name != "command-line.md")


def test_every_public_name_has_one_entry_in_the_reference():
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    entries = re.findall(r"^\.\. auto(?:function|class|exception|module):: torchbce\.(\S+)$", text, re.M)
    names = [*torchbce.__all__, *(f"functional.{name}" for name in torchbce.functional.__all__)]
    assert len(names) >= 60
    counts = {name: entries.count(name) for name in names}
    assert counts == dict.fromkeys(names, 1), "docs/reference has no entry, or two"


REFERENCE = sorted(page for page in (DOCS / "reference").glob("*.md") if "\n.. auto" in page.read_text())


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_pages_of_the_reference_begin_with_a_list_of_their_names(page):
    text = page.read_text()
    listed = extension("entries").entries(text)
    written = re.findall(r"^\.\. auto(?:function|class|exception):: (\S+)$", text, re.M)
    assert ".. names::" in text.split("\n## ")[0]
    assert len(listed) == len(set(listed)) >= len(written) >= 4
    short = {name.rpartition(".")[2] for name in listed}
    assert {name.rpartition(".")[2] for name in written} <= short
    if page.stem == "pictures":
        assert set(importlib.import_module("torchbce.explanation.plots").__all__) <= short


def test_the_lists_of_names_have_every_public_name():
    listed = [name for page in REFERENCE for name in extension("entries").entries(page.read_text())]
    names = {*torchbce.__all__, *(f"functional.{name}" for name in torchbce.functional.__all__)} - {"functional"}
    assert len(names) >= 60
    assert {f"torchbce.{name}" for name in names} - set(listed) == set()


def test_every_page_stands_in_one_table_of_contents():
    found: list[Path] = []
    for page in own_pages():
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.M | re.S):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            for line in lines:
                found += sorted(page.parent.glob(f"{line}.md"))
    pages = [page for page in own_pages() if page != DOCS / "index.md"]
    counts = {str(page.relative_to(DOCS)): found.count(page) for page in pages}
    assert counts == dict.fromkeys(counts, 1)


def test_every_page_of_results_is_named_on_the_page_of_figures():
    text = (DOCS / "measured.md").read_text()
    for results in (ROOT / "benchmarks" / "results").glob("*.md"):
        assert f"benchmarks/results/{results.name})" in text, f"docs/measured.md does not say what {results.name} is"


@pytest.mark.parametrize("page", own_pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_headings_that_links_name_exist(page):
    for file, heading in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        target = page if not file else (page.parent / file)
        if target.name == "glossary.md":
            assert heading in extension("links").terms(DOCS), f"{page.name} links to {heading}, which is no term"
            continue
        slugs = {
            re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        }
        assert heading in slugs, f"{page.name} links to #{heading} of {target.name}"


def test_the_command_line_page_has_every_command_and_option():
    module = extension("generated")
    page = module.command_line()
    commands = module.commands()
    top = page.split("\n## ")[0]
    assert [name for name in commands if f"[`{name}`](#torchbce-{name})" not in top] == []
    assert {"train", "predict", "explain", "compare", "check", "labels", "export"} <= commands.keys()
    for name, command in commands.items():
        section = page.split(f"## torchbce {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if not parameter.hidden:
                assert parameter.opts[0].removeprefix("--") in section.lower(), f"{name} {parameter.name}"


def test_the_curve_is_the_reports():
    module = extension("generated")
    curve = module.curve()
    assert curve.count("<script") == 2
    assert all(f'id="{name}"' in curve for name in ("curve", "total", "mean", "item-0", "item-2", "items", "filter"))


def run_cells(text: str) -> int:
    """Run a page's cells in order, as the build does; returns how many there are."""
    names: dict[str, object] = {"__name__": "page"}
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    cells = [body for _, body in CELL.findall(text)]
    for body in cells:
        if body.startswith("%%bash\n"):
            subprocess.run(["bash", "-e", "-c", body.removeprefix("%%bash\n")], env=environment, check=True)
        else:
            exec(compile(body, "cell", "exec"), names)
    return len(cells)


@pytest.mark.site
@pytest.mark.parametrize("page", CELL_PAGES, ids=lambda page: page.stem)
def test_every_cell_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cells(page.read_text()) >= 3


def test_a_cell_that_fails_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        run_cells("```{code-cell}\n%%bash\nfalse\n```\n")
    with pytest.raises(ZeroDivisionError):
        run_cells("```{code-cell}\n:tags: [remove-output]\n1 / 0\n```\n")


@pytest.mark.site
@pytest.mark.parametrize("program", GALLERY, ids=lambda program: program.stem)
def test_every_gallery_program_runs(program, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program))
    import matplotlib.pyplot as plt

    drawn = len(plt.get_fignums())
    plt.close("all")
    assert drawn >= 1, "a page of the gallery has a picture"


def test_the_page_of_symptoms_is_that_of_the_checks_and_names_all():
    spec = importlib.util.spec_from_file_location("index", DOCS / "checks" / "index.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "symptoms.md").read_text()
    assert module.symptoms() == page, "run python docs/checks/index.py"
    missing = [code for code in module.catalogue() if f"[{code} " not in page]
    assert missing == [], "docs/checks/symptoms.py names them under no symptom"


def commands_of(page: Path) -> list[str]:
    """The lines of its blocks that are commands."""
    joined = [block.replace("\\\n", " ") for info, block in FENCE.findall(page.read_text()) if info in ("", "bash")]
    return [line for block in joined for line in block.splitlines() if re.match(r"(torchbce|torchrun|zcat) ", line)]


PAGES_WITH_COMMANDS = [page for page in own_pages() if commands_of(page)]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.stem)
def test_commands_of_the_pages_have_options_that_exist(page):
    from typer.main import get_command

    from torchbce.cli.app import app

    for line in commands_of(page):
        words = shlex.split(re.split(r"\s[|>]\s", line.removeprefix("zcat predictions.csv.gz | "))[0], comments=True)
        name, *arguments = words[words.index("torchbce") + 1 :]
        command = get_command(app).commands[name]
        context = command.context_class(command, info_name=name)
        command.make_parser(context).parse_args(args=arguments)  # an unknown option raises


@pytest.fixture
def files(tmp_path, monkeypatch, command):
    """What the pages' commands read, under the names that they have there."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 600
    z = rng.normal(-0.5, 1.5, n)
    table = pl.DataFrame(
        {
            "id": np.arange(n),
            "y": (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int),
            "z": z,
            "p": 1 / (1 + np.exp(-z)),
            "old": 1 / (1 + np.exp(-1.5 * z)),
            "new": 1 / (1 + np.exp(-z - 0.1)),
            "country": rng.choice(["DE", "FR"], n),
            "region": rng.choice(["north", "south"], n),
            "patient": rng.integers(0, 60, n),
            "date": [f"2026-{1 + i % 3:02}-15" for i in range(n)],
        }
    )
    (tmp_path / "shards").mkdir()
    for name in ("a", "b", "predictions"):
        table.write_csv(f"{name}.csv")
    for name in ("b", "last", "this", "log", "monday", "shards/1", "shards/2"):
        table.write_parquet(f"{name}.parquet")
    subprocess.run(["gzip", "--keep", "predictions.csv"], check=True)
    pl.DataFrame({"train": [0.6, 0.5, 0.45, 0.42], "valid": [0.61, 0.52, 0.48, 0.46]}).write_csv("history.csv")
    frame = table.select("y", "z", "country").with_columns(job=pl.col("country"))
    frame.write_csv("rows.csv")
    learnt = command(
        "train", "rows.csv", "--target", "y", "--out", "runs/bank", "--no-trees", "--epochs", 2, "--folds", 2
    )
    assert learnt.exit_code == 0, learnt.output
    for name in ("one", "two", "breast_cancer"):
        (tmp_path / "runs" / name).symlink_to("bank")
    saved = command("explain", "predictions.csv", "--target", "y", "--prob", "p", "--save", "tuesday.sketch")
    assert saved.exit_code == 0, saved.output
    return tmp_path


@pytest.mark.site
@pytest.mark.parametrize("name", ["explain", "compare", "checks"])
def test_commands_of_the_pages_run(name, files, command):
    lines = [line for line in commands_of(DOCS / f"{name}.md") if line.startswith("torchbce")]
    assert len(lines) >= 3
    for line in lines:
        result = command(*shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, f"{line}: {result.output}"


def test_the_fixes_of_the_checks_are_python():
    count = 0
    for page in sorted((DOCS / "checks").glob("BCE*.md")):
        for info, block in FENCE.findall(page.read_text()):
            if info in ("", "python"):
                compile(block, page.name, "exec")
                count += 1
    assert count >= 3


SITE = ROOT / "build" / "docs"
WIDTH = 400  # of a phone
# Furo lets the content scroll sideways where something in it is too wide; a box of its own should.
WIDE = """Math.max(...[document.documentElement, ...document.querySelectorAll('.content')].map(e => e.scrollWidth))"""


@pytest.mark.site
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium")
@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site is not built; run make docs")
def test_no_page_scrolls_sideways_on_a_phone(tmp_path):
    files = sorted(SITE.rglob("*.html"))
    wide = {}
    with browser.page(files[0], tmp_path) as page:
        page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=800, deviceScaleFactor=1, mobile=False)
        for file in files:
            page.call("Page.navigate", url=file.as_uri())
            while page.value("document.readyState") != "complete":
                time.sleep(0.02)
            width = page.value(WIDE)
            if width > WIDTH:
                wide[str(file.relative_to(SITE))] = width
    assert wide == {}
