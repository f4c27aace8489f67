"""The mutations of `mutate.py` are of sources as they are: each names one place, and tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

import mutate
import torchbce

SRC = Path(torchbce.__file__).parent


@pytest.mark.parametrize(("file", "old", "new", "where"), mutate.MUTATIONS)
def test_a_mutation_names_one_place_and_its_tests(file, old, new, where):
    assert (SRC / file).read_text().count(old) == 1, f"{file}: {old}"
    assert new != old
    assert any(Path(mutate.__file__).parent.rglob(f"test_{where}*.py"))
