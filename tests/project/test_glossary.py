"""The glossary: every word of it is used, and every abbreviation that reports print is in it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import torchbce
from root import ROOT
from site_extension import extension
from torchbce.comparison.periods import what_changed

DOCS = ROOT / "docs"
TEMPLATES = sorted((ROOT / "src" / "torchbce").rglob("templates/*.j2"))
OF_PAGES = {"BCE", "DSC", "MCB", "UNC", "D2", "CORP"}  # of docstrings that the reference shows


LINKS = extension("links")
TERMS = LINKS.terms(DOCS)


def docstrings() -> str:
    """What the reference shows."""
    names = [getattr(torchbce, name) for name in torchbce.__all__]
    names += [getattr(torchbce.functional, name) for name in torchbce.functional.__all__]
    return "\n".join(one.__doc__ or "" for one in [*names, what_changed])


@pytest.fixture(scope="module")
def used() -> str:
    """In one line: the text of pages, templates and docstrings, the terms that pages link to, and what --json names."""
    pages = [page for page in sorted(DOCS.rglob("*.md")) if page.name != "glossary.md"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in [*pages, *TEMPLATES]) + docstrings()
    linked = " ".join(TERMS[slug] for slug in re.findall(r"glossary\.md#([\w-]+)\)", text))
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = torchbce.explain([0.9, 0.2] * 50, [1, 0] * 50, from_logits=False)
    return re.sub(r"\s+", " ", f"{shown} {linked} {' '.join(keys(found.to_dict()))}").lower()


def keys(numbers: object) -> list[str]:
    """The names of a result in JSON, at every depth."""
    if not isinstance(numbers, dict):
        return []
    return [word for name, value in numbers.items() for word in (name, *keys(value))]


@pytest.mark.parametrize("term", TERMS.values())
def test_every_term_is_used(term, used):
    words = "[ _-]".join(map(re.escape, term.lower().split()))
    assert re.search(rf"\b{words}", used), f"nothing says {term!r}"


def test_definitions_are_short_and_terms_are_there_once():
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    names = re.findall(r"^\*\*(.+)\*\*$", page, re.M)
    assert len(names) == len(TERMS) >= 50
    for block in re.findall(r"(?:^\*\*.+\*\*\n)+((?:  .+\n)+)", page, re.M):
        assert len(block.split()) <= 90, block


@pytest.fixture(scope="module")
def reports() -> str:
    """What explain, compare, periods, labels, checks, slices and EpochBCE print."""
    rng = np.random.default_rng(0)
    z = rng.normal(-0.5, 1.5, 2000)
    y = rng.random(2000) < 1 / (1 + np.exp(-z))
    table = {"country": rng.choice(["north", "south"], 2000)}
    found = torchbce.explain(2 * z, y, from_logits=True, features=table, by=table["country"])
    several = torchbce.explain(
        np.stack([z, z], 1),
        np.stack([y, y], 1),
        from_logits=True,
        labels=["one", "other"],
        cluster=np.arange(2000) // 10,
    )
    compared = torchbce.compare(2 * z, z, y, from_logits=True, groups=table["country"])
    changed = what_changed(found, torchbce.explain(z, y, from_logits=True, by=table["country"]))
    labels = torchbce.find_label_errors(1 / (1 + np.exp(-z)), y, from_logits=False)
    issues = torchbce.check_predictions(4 * z, y, from_logits=True)
    log = torchbce.check_log([0.7, 0.69, 0.6931, 0.6931])
    meter = torchbce.EpochBCE()
    meter.update(0.5, count=10)
    few = torchbce.explain([0.6, 0.2], [1, 0], from_logits=False)
    printed = [few, found, several, compared, changed, labels, issues, log, meter, found.verdict, found.to_markdown()]
    return "\n".join(map(str, [*printed, *(file.read_text() for file in TEMPLATES)]))


def abbreviations(text: str) -> set[str]:
    """Words of capitals and digits, without the codes of checks and the constants of code."""
    found = re.findall(r"(?<![\w.'\"/-])[A-Z][A-Z0-9]{1,5}(?![\w(.-])", text)
    return {word for word in found if not re.match(r"BCE\d", word)}


def test_abbreviations_that_reports_print_are_terms(reports):
    found = abbreviations(reports)
    assert {"BCE", "D2", "AUC"} <= found, "the reports that are looked at print more than that"
    missing = {word for word in found | OF_PAGES if word.lower() not in TERMS}
    assert missing == set()
    assert abbreviations(docstrings() + (DOCS / "explain.md").read_text(encoding="utf-8")) >= OF_PAGES


def test_links_to_terms_become_references():
    known = {"base-rate": "base rate", "d2": "D2"}
    assert LINKS.to_terms("the [ones](../glossary.md#base-rate), [D2](glossary.md#d2)", known) == (
        "the {term}`ones <base rate>`, {term}`D2 <D2>`"
    )
    assert LINKS.to_terms("[Glossary](glossary.md)", known) == "[Glossary](glossary.md)"
    assert LINKS.to_terms("[x](glossary.md#no-such)", known) == "{term}`x <no-such>`"  # Sphinx warns of it
