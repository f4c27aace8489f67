"""The docs are true: every python block runs, and every `print(...)  # value` prints that value."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

import forked
import torchbce
from root import ROOT
from torchbce.engine import select

SRC = ROOT / "src" / "torchbce"
DOCTESTS = sorted(
    ".".join(path.relative_to(SRC).with_suffix("").parts) for path in SRC.rglob("*.py") if ">>> " in path.read_text()
)
# Those that somebody wrote: the site's build makes others in docs. Cells of pages are run by test_site.py.
WRITTEN = ("*.md", "tutorials/*.md", "how-to/*.md", "checks/*.md", "reference/[!c]*.md")
PAGES = [ROOT / "README.md", *(page for pattern in WRITTEN for page in sorted((ROOT / "docs").glob(pattern)))]
SHOWN = re.compile(r"^\s*print\(.*\)  # (?P<value>.+)$")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT)).removeprefix("docs/")


def same(printed: str, shown: str) -> bool:
    """Equal as text, or as numbers to the digits that are shown."""
    try:
        a, b = float(printed), float(shown)
    except ValueError:
        return printed == shown
    mantissa, _, exponent = shown.lower().partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return printed == shown or abs(a - b) <= 0.5000001 * last


def check_page(text: str) -> int:
    """Run the page's python blocks one after another; returns the number of values compared."""
    compared = 0
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        lines = block.splitlines()

        def shown(*values: object, lines: list[str] = lines) -> None:
            nonlocal compared
            line = lines[sys._getframe(1).f_lineno - 1]
            expected = SHOWN.match(line)
            assert expected, f"no value is shown for: {line}"
            printed = " ".join(map(str, values))
            assert same(printed, expected["value"]), f"{line} printed {printed}"
            compared += 1

        names["print"] = shown
        exec(compile(block, "page", "exec"), names)
    return compared


# Compiling the kernels of every page and docstring takes minutes: by itself each example runs in plain torch.
ENGINES = pytest.mark.parametrize("engine", ["reference", pytest.param("as it is", marks=pytest.mark.site)])


@pytest.fixture
def computing(engine):
    with select.forced("reference") if engine == "reference" else contextlib.nullcontext():
        yield


@ENGINES
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs_and_prints_what_is_shown(page, computing, engine, tmp_path, monkeypatch):
    if engine == "reference" and "torchbce.verify(" in page.read_text():
        pytest.skip("verify compares the kernels; the page runs as it is")
    monkeypatch.chdir(tmp_path)
    check_page(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_a_page_names_exist(page):
    for name, file in re.findall(r"\[(test_\w+)\]\((\S+?\.py)\)", page.read_text()):
        assert f"def {name}(" in (page.parent / file).read_text(), f"{page.name} names {name} in {file}"


def test_the_main_page_compares_many_values(reference):
    assert check_page((ROOT / "docs" / "how-pytorch-computes-bce.md").read_text()) >= 25


def test_a_wrong_value_is_found():
    with pytest.raises(AssertionError, match="printed 2"):
        check_page("```python\nprint(1 + 1)  # 3\n```\n")
    assert same("0.52479", "0.5248")
    assert not same("0.5246", "0.5248")
    assert same("3.0590e-07", "3.059e-07")
    assert not same("3.07e-07", "3.059e-07")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text()
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        made = Path(link).name == "command-line.md"  # by the site's build, from the commands
        assert made or (page.parent / link).exists(), link
    for path in re.findall(r"`((?:src|docs|tests|examples|benchmarks)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_articles_table_in_the_docs_is_what_explain_prints():
    page = (ROOT / "docs" / "how-pytorch-computes-bce.md").read_text()
    table = re.search(r"^```text\n(.*?)^```", page, re.M | re.S)[1]
    assert str(torchbce.explain([0.6, 0.2, 0.7], [1, 0, 1], from_logits=False)).startswith(table)


@ENGINES
@pytest.mark.parametrize("name", DOCTESTS)
def test_docstring_examples(name, engine, computing):
    module = importlib.import_module(f"torchbce.{name}")
    names = {"torch": importlib.import_module("torch"), "torchbce": torchbce}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.site
def test_the_articles_program_prints_the_same_three_times():
    run = forked.program(ROOT / "examples" / "article.py").stdout
    assert "all 3 print the same: True" in run
    for text in (
        "-log(0.60)     =  0.51",
        "-log(1 - 0.20) =  0.22",
        "-log(0.70)     =  0.36",
        "1.09",
        "0.3635",
        "0.3633",
    ):
        assert text in run
