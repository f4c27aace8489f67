"""A release: one version, one list of dependencies, and files that GitHub, conda and citation tools can read."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import torchbce
from root import ROOT
from torchbce.cli.shared.exit_codes import ExitCode
from torchbce.common.extras import EXTRAS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
YAML = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff", ROOT / "release" / "conda" / "recipe.yaml"])
WORKFLOWS = [path for path in YAML if path.parent.name == "workflows"]
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # where conda-forge has another name
IMPORTED_AS = {"scikit-learn": "sklearn"}


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "release"))
    monkeypatch.delitem(sys.modules, "notes", raising=False)
    import notes

    return notes


def loaded(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def conda_output(name: str) -> dict:
    outputs = loaded(ROOT / "release" / "conda" / "recipe.yaml")["outputs"]
    return next(output for output in outputs if output["package"]["name"] == name)


def as_conda(dependencies: list[str]) -> set[str]:
    """What pyproject.toml asks for, as conda writes it."""
    parts = [re.fullmatch(r"([\w-]+)(>=[\d.]+)", dependency).groups() for dependency in dependencies]
    return {f"{CONDA.get(name, name)} {bound}" for name, bound in parts}


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_read(path):
    assert isinstance(loaded(path), dict)


def test_the_version_is_written_once(notes):
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "torchbce.__version__"}
    assert notes.version() == torchbce.__version__
    assert "version" not in loaded(ROOT / "CITATION.cff")


def test_setuptools_reads_the_version_without_an_import():
    tree = ast.parse((ROOT / "src" / "torchbce" / "__init__.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    assert ast.literal_eval(value) == torchbce.__version__


def test_the_conda_recipe_asks_for_what_pyproject_asks_for():
    context = loaded(ROOT / "release" / "conda" / "recipe.yaml")["context"]
    assert context["version"] == torchbce.__version__
    assert PROJECT["project"]["requires-python"] == f">={context['python_min']}"
    project = PROJECT["project"]
    plain, train = conda_output("torchbce"), conda_output("torchbce-train")
    python, *others = plain["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert set(others) == as_conda(project["dependencies"])
    pinned, *others = train["requirements"]["run"]
    assert pinned.startswith('${{ pin_subpackage("torchbce", exact=True)')
    assert set(others) == as_conda(project["optional-dependencies"]["train"])
    assert as_conda(PROJECT["build-system"]["requires"]) < set(plain["requirements"]["host"])
    scripts = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert plain["build"]["python"]["entry_points"] == scripts


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_knows_what_an_extra_brings(extra):
    names = [re.match(r"[\w-]+", dependency)[0] for dependency in PROJECT["project"]["optional-dependencies"][extra]]
    assert sorted(IMPORTED_AS.get(name, name) for name in names) == sorted(EXTRAS[extra])


def test_a_citation_has_what_its_format_requires():
    citation = loaded(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in PROJECT["project"]["authors"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_have_versions_and_jobs_few_rights(path):
    workflow = loaded(path)
    assert set(workflow["permissions"].values()) <= {"read", "write"}
    for name, job in workflow["jobs"].items():
        used = [step["uses"] for step in job.get("steps", []) if "uses" in step]
        used += [job["uses"]] if "uses" in job else []
        for action in used:
            local = action.startswith("./") and (ROOT / action).is_file()
            assert local or re.search(r"@([0-9a-f]{40}|v\d+(\.\d+)*|release/v\d+)$", action), f"{name}: {action}"
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= workflow["jobs"].keys(), name


def test_nothing_is_published_untested():
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    before, left = set(), ["publish"]
    while left:
        needed = jobs[left.pop()].get("needs", [])
        new = {needed} if isinstance(needed, str) else set(needed)
        left.extend(new - before)
        before |= new
    assert before == {"test", "build", "try"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    commands = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any("make dist" in command for command in commands)


def test_notes_of_a_release_are_its_section(notes, tmp_path):
    (tmp_path / "src" / "torchbce").mkdir(parents=True)
    (tmp_path / "src" / "torchbce" / "__init__.py").write_text('__version__ = "1.2.0"\n')
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## 1.2.0 - 2026-01-02\n\n### Added\n\n- this\n\n## 1.1.0\n\n- before\n")
    assert notes.notes("v1.2.0", tmp_path) == "### Added\n\n- this\n"
    with pytest.raises(ValueError, match=r"the tag is '1.2.0' and __version__ is '1.2.0'; write the tag v1.2.0"):
        notes.notes("1.2.0", tmp_path)
    changelog.write_text("# Changelog\n\n## Unreleased\n\n- this\n")
    with pytest.raises(ValueError, match="has the sections 'Unreleased'; it needs one called '1.2.0 - YEAR"):
        notes.notes("v1.2.0", tmp_path)


def test_the_sdist_holds_what_the_release_is_tried_with():
    manifest = (ROOT / "MANIFEST.in").read_text()
    included = {name for line in manifest.splitlines() if line.startswith("include ") for name in line.split()[1:]}
    assert {"constraints.txt", "examples/readme.py", "examples/breast_cancer.py"} <= included
    assert [name for name in included if not (ROOT / name).is_file()] == []
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"^\+from torchbce import \w+$", readme, re.M)
    assert re.search(r"^\$ torchbce train .+$", readme, re.M)


def test_exit_statuses_are_those_that_the_page_promises():
    page = (ROOT / "docs" / "stability.md").read_text()
    table = page.split("## Exit statuses")[1].split("\n## ")[0]
    assert sorted(map(int, re.findall(r"^\| (\d+) \|", table, re.M))) == sorted(map(int, ExitCode))


def test_the_page_names_the_format_of_run_folders():
    from typing import get_args

    from torchbce.table.run.folder import ModelFile

    (current,) = get_args(ModelFile.model_fields["format"].annotation)
    assert f"`{current}`" in (ROOT / "docs" / "stability.md").read_text()


def test_the_command_says_its_versions_and_completes(command):
    said = command("--version").output
    assert re.fullmatch(r"torchbce [\d.]+\S*, torch \S+, numba \S+, Python 3\.\S+\n", said)
    assert said.startswith(f"torchbce {torchbce.__version__},")
    shown = command("--help").output
    assert "--install-completion" in shown
    assert "--show-completion" in shown
