"""Text from data comes out as it is and harmless: on pages and cards, in pictures, messages and warnings."""

from __future__ import annotations

import functools
import re
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import torchbce
from seen import MARKDOWN, Seen, check_page, is_safe
from torchbce.checks.catalogue.finding import Finding, Level
from torchbce.checks.rules import catalogue
from torchbce.cli.shared.output import warning_line
from torchbce.common.errors import InputError, OutputError
from torchbce.common.markdown import code, escaped
from torchbce.common.visible import MESSAGE, NAME, shown, visible
from torchbce.comparison.over_time import over_time
from torchbce.comparison.page import write_periods
from torchbce.comparison.periods import what_changed
from torchbce.comparison.plots import ComparisonDisplay, OverTimeDisplay
from torchbce.explanation.plots import EffectDisplay, ImportanceDisplay, ItemLossDisplay, LossCurveDisplay
from torchbce.explanation.plots.figure import LONG, SHORT, to_svg
from torchbce.table.columns.target import Target

HOSTILE = [
    "rev_$M_to_$",
    "$\\frac{1}{0$",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt; & &#60;",
    "{{ 7 * 7 }}{% raw %}",
    "[bold red]a[/] :skull:",
    "[a](javascript:alert(1)) ![b](http://x.y/z)",
    "https://x.example/a www.x.example a@x.example",
    "a|b \\| c\\",
    "`a` ``b`` `",
    "# heading\n\n## more\n* * *\n<div>",
    "*a* _b_ **c** ~~d~~",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b1m",
    "\u202egpj.exe\u2066\u200f\u200b\u2060\ufeff",
    "a\0b\rc\x85d\u2028e\tf",
    "\ud83d lone \udcff",
    "#2f6fb5 #000000",
    "--exclude $(reboot) 'x",
    " ",
    "",
    "x" * 100_000,
    "\x1b" * 5_000,
]
PIECES = [
    "$",
    "^",
    "_",
    "\\",
    "<b>",
    "</td>",
    "&amp;",
    "[i]",
    "|",
    "\n",
    "\x1b[0m",
    "\u202e",
    "\0",
    "\ud800",
    "`",
    "*",
    "é",
    "日",
]
names = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)


# Shown at all


def test_nothing_that_cannot_be_seen_is_left():
    for number in range(sys.maxunicode + 1):
        assert is_safe(visible(chr(number))), hex(number)
    assert visible("a\nb\tc\u200b", "\n") == "a\nb\\tc\\u200b"
    assert visible("日本 ümlaut é 👩 a\\b") == "日本 ümlaut é 👩 a\\b"


@given(names, st.integers(10, 300))
def test_shown_is_one_short_line_and_says_how_long_the_text_is(name, limit):
    found = shown(name, limit)
    assert is_safe(found)
    assert len(found) <= limit
    assert shown(found, limit) == found
    if len(visible(name)) <= limit:
        assert found == visible(name)
    else:
        assert f"({len(name):,} characters)" in found or limit < NAME
        assert "…" in found


@given(names)
def test_errors_are_one_line_and_never_a_whole_cell(name):
    for kind in (InputError, OutputError):
        said = str(kind(f"t.csv: row 3 of column {name} is {name!r}; correct it or leave it empty"))
        assert is_safe(said)
        assert len(said) <= MESSAGE + 500
        assert said.startswith("t.csv: row 3")
        assert said.endswith("correct it or leave it empty")
    again = str(InputError(f"runs/x: {said}"))
    assert again.count(" characters) …") <= 1


def test_warnings_are_one_line():
    said = warning_line(UserWarning("\x1b[31m\u202e" + "x" * 10_000), UserWarning, "file.py", 3)
    assert is_safe(said, "\n")
    assert said.count("\n") == 1
    assert len(said) < MESSAGE + 100


# Markdown


def parts(text: str) -> list[list[tuple[str, str]]]:
    """What each paragraph, heading and cell holds, as kinds and contents."""
    found = []
    for token in MARKDOWN.parse(text):
        if token.type == "inline":
            joined: list[tuple[str, str]] = []
            for child in token.children:
                if joined and joined[-1][0] == child.type == "text":
                    joined[-1] = ("text", joined[-1][1] + child.content)
                else:
                    joined.append((child.type, child.content))
            found.append(joined)
    return found


@given(names)
@settings(max_examples=300)
def test_names_in_markdown_are_text_and_nothing_else(name):
    whole = shown(name)
    expected = whole if whole.strip(" ") else repr(whole)
    kind = "code_inline" if whole.strip(" ") else "text"
    table = f"| a | b |\n| --- | --- |\n| {code(name, in_table=True)} | {escaped(name)} |"
    cells = parts(table)[2:]
    assert len(cells) == 2
    assert cells[0] == [(kind, expected)]
    assert "".join(content for _, content in cells[1]).strip() == whole.strip()
    assert {what for what, _ in cells[1]} <= {"text"}
    assert parts(f"# {code(name)}: x") == [[(kind, expected), ("text", ": x")]] or kind == "text"
    ((*_, (what, content)),) = [parts(f"of {escaped(name)}.")[0]]
    assert (what, content) == ("text", f"of {whole}.")
    assert not re.search(r"(?<!\\)(\$|://|@)|www\.", escaped(name))  # mathematics and bare links of GitHub's


# Pictures


def texts_of(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    return ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.slow
@given(st.lists(names, min_size=3, max_size=8))
@example(HOSTILE[:12])
@example(HOSTILE[12:])
@settings(max_examples=2)
def test_names_in_pictures_are_literal(several):
    name, ones = several[0], np.ones(len(several))
    found = torchbce.explain([0.6, 0.2, 0.7], [1, 0, 1], from_logits=False)
    compared = torchbce.compare([0.9, 0.2, 0.6], [0.8, 0.1, 0.7], [1, 0, 1], from_logits=False, names=(name, "b"))
    comparison = ComparisonDisplay.from_comparison(compared)
    comparison.rows = [(one, 0.1, compared.interval) for one in several]
    apart = np.linspace(0.05, 0.95, len(several))
    periods = [*several[:8], "b"]
    displays = [
        (ImportanceDisplay(several, ones, ones), [shown(one, 32) for one in several]),
        (EffectDisplay(name, [0.0, 1.0], [0.1, 0.2], base_rate=0.2), [shown(name, LONG)]),
        (EffectDisplay("q", several, ones), [shown(one, SHORT) for one in several]),
        (LossCurveDisplay({f"of {name}": [0.5, 0.4]}), [shown(f"of {name}", LONG)]),
        (ItemLossDisplay(apart, -np.log(apart), np.array(several, object)), [shown(name, SHORT)]),
        (OverTimeDisplay.from_periods(over_time(periods, [found] * len(periods))), [shown(name, SHORT)]),
        (comparison, [*(shown(one, 32) for one in several), f"b - {shown(name, SHORT)}, nats per item"]),
    ]
    for display, expected in displays:
        svg = to_svg(display.plot().figure_)
        assert is_safe(svg, "\n")
        assert {text.strip() for text in expected} - {""} <= {text.strip() for text in texts_of(svg)}


def test_pictures_are_literal_when_drawn_later_and_change_no_settings():
    before = dict(matplotlib.rcParams)
    name = "a_$x^$ \\$"
    display = EffectDisplay(name, [name, "b"], [0.1, 0.2]).plot()
    assert dict(matplotlib.rcParams) == before
    display.ax_.set_title("$\\alpha$")
    display.ax_.tick_params(axis="x", labelsize=5)
    with matplotlib.rc_context({"text.usetex": False, "text.parse_math": True}):
        texts = texts_of(to_svg(display.figure_))
    assert texts.count(name) == 2
    assert "α" in "".join(texts)  # the user's own are as they wish


# Results: text, pages and Markdown


@functools.cache
def results(name: str):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=400)
    y = (logits + rng.logistic(size=400) > 0).astype(float)
    said = name.replace("\0", "\x01")[:2_000] or "-"  # numpy drops zeros at the end
    group = np.where(np.arange(400) < 200, said, "b")
    found = torchbce.explain(logits, y, from_logits=True, by=group, features={name: group, "x": logits})
    two = np.stack([logits, -logits], 1)
    labels = torchbce.explain(two, np.stack([y, 1 - y], 1), from_logits=True, labels=[name, name + "2"])
    compared = torchbce.compare(logits, logits * 1.1, y, from_logits=True, names=(name, name + "2"), groups=group)
    ranked = torchbce.compare_all({name: logits, "b": -logits, "c": 0 * logits}, y, from_logits=True)
    changed = what_changed(found, found, (name, name + "2"))
    return said, found, labels, compared, ranked, changed, over_time([name, name + "2"], [found, found])


@pytest.mark.slow
@given(name=names)
@example(name=HOSTILE[2])
@example(name="a|b\n# c\x1b[31m")
@settings(max_examples=10)
def test_results_are_text_that_names_cannot_break(name):
    said, *found = results(name)
    for result, plain in zip(found, results("plain")[1:], strict=True):
        text, in_notebooks = str(result), Seen(result._repr_html_())
        assert is_safe(text, "\n")
        assert text.count("\n") == str(plain).count("\n")  # no line is forged
        assert max(map(len, text.split("\n"))) < MESSAGE
        assert in_notebooks.tags == ["pre"]
        assert in_notebooks.text == text
    assert shown(name) in str(found[2])
    for result in (found[0], found[2]):
        markdown = result.to_markdown()
        assert is_safe(markdown, "\n")
        rendered = Seen(MARKDOWN.render(markdown))
        assert set(rendered.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "strong"}
        assert shown(said if result is found[0] else name).strip() in rendered.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("".join(HOSTILE[2:6]), HOSTILE[13] + HOSTILE[15], HOSTILE[17]),
        *(pytest.param(name, marks=pytest.mark.combination) for name in (HOSTILE[0], HOSTILE[21])),
    ],
)
def test_pages_show_names_as_they_are(name, tmp_path):
    said, found, labels, compared, _, *of_periods = results(name)
    path = tmp_path / "page.html"
    found.to_html(path, title=name)
    check_page(path, name, said)
    labels.to_html(path, title=name)
    check_page(path, name)
    compared.to_html(path, title=name)
    check_page(path, name)
    for result in of_periods:
        write_periods(path, result, name)
        check_page(path, name)


@given(names)
def test_findings_and_sentences_are_safe(name):
    assert is_safe(str(Finding(catalogue()["BCE001"], Level.FAIL, name, fix=f"{name}\nb")), "\n")
    assert is_safe(Target(column="y", positive=visible(name, "\x1b\n\u202e\0"), negative="n").predicted)
