"""The architecture: who may import whom, what `import torchbce` loads, the size of files."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import forked
import torchbce
from root import ROOT

SRC = Path(torchbce.__file__).parent
FILES = {path.relative_to(SRC).as_posix(): path for path in sorted(SRC.rglob("*.py"))}
TESTS = [
    path
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if not {"public_bugs", "healthy_programs"} & {*path.parts}  # collections of other people's programs
]

# Each room and what it may import, besides itself. Nothing points up.
ROOMS = {
    "common": set(),
    "formula": set(),
    "jit": {"formula", "common"},
    "engine": {"jit", "formula", "common"},
    "losses": {"engine", "formula", "common"},
    "functional": {"losses"},
    "tiled": {"functional", "losses", "engine", "common"},
    "perceptron": {"engine", "jit", "formula"},
    "checkpoint": {"common"},
    "io": {"functional", "common"},
    "explanation": {"functional", "common"},
    "comparison": {"explanation", "functional", "common"},
    "labels": {"explanation", "functional", "common"},
    "checks": {"explanation", "functional", "engine", "common"},
    "monitor": {"explanation", "functional", "losses", "engine", "common"},
    "fitting": {"monitor", "checks", "losses", "engine", "perceptron", "checkpoint", "common"},
    "table": {
        "io",
        "explanation",
        "monitor",
        "losses",
        "functional",
        "engine",
        "jit",
        "perceptron",
        "checkpoint",
        "common",
    },
    "selftest": {"engine", "jit", "losses", "functional"},
    "cli": {
        "table",
        "io",
        "monitor",
        "checks",
        "checkpoint",
        "comparison",
        "labels",
        "explanation",
        "selftest",
        "common",
    },
    "__main__": {"cli"},
    "__init__": {"common"},  # its names stand in __init__.pyi
}
# Libraries that live in one place only.
PLACES = {
    "numba": ("jit/", "engine/numba_cpu/", "perceptron/", "table/trees/"),
    "llvmlite": ("jit/", "perceptron/"),
    "triton": "engine/triton_gpu/",
    "fastexcel": ("io/workbooks.py",),
    "pyreadstat": ("io/statistics_files.py",),
    "polars": ("io/", "table/", "explanation/result.py", "labels/result.py"),
    "pydantic": "table/",
    "safetensors": ("table/run/folder.py", "checkpoint/record.py", "table/packed/cache.py"),
    "onnx": "table/run/export/onnx_graph.py",
    "sklearn": "table/",
    "matplotlib": "explanation/plots/",
    "jinja2": "explanation/render/html.py",
    "torchmetrics": "monitor/torchmetrics.py",
    "lightning": "monitor/lightning.py",
    "typer": "cli/",
    "rich": "cli/",
}
HEAVY = {
    "numba",
    "llvmlite",
    "triton",
    "matplotlib",
    "polars",
    "pyarrow",
    "sklearn",
    "scipy",
    "pydantic",
    "jinja2",
    "typer",
    "rich",
}


@functools.cache
def trees() -> dict[str, ast.Module]:
    return {file: ast.parse(path.read_text()) for file, path in FILES.items()}


def imports(tree: ast.AST, *, in_functions: bool = True) -> set[str]:
    """Modules that a source imports, but for type checking only."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and not in_functions:
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def folder(file: str) -> str:
    """Return the folder of a file; each file beside the rooms is a folder of its own."""
    return file.rpartition("/")[0] or file


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def test_imports_go_one_way():
    wrong = []
    for file, tree in trees().items():
        here = room(file)
        for name in imports(tree):
            top, *rest = name.split(".")
            if top == "torchbce" and rest[0] not in {here, *ROOMS[here]}:
                wrong.append(f"{file} must not import {name}")
            if top in PLACES and not file.startswith(PLACES[top]):
                wrong.append(f"{file} imports {top}, which lives in {PLACES[top]}")
    assert wrong == []


def test_no_file_needs_itself_while_it_is_loaded():
    modules = {"torchbce." + ".".join(Path(file).with_suffix("").parts): file for file in FILES}
    needs = {}
    for module, file in modules.items():
        found = imports(trees()[file], in_functions=False)
        needs[module] = {other for name in found for other in (name, name.rpartition(".")[0]) if other in modules}
    while needs:
        ready = {module for module, others in needs.items() if not others & needs.keys()}
        assert ready, f"these import each other: {sorted(needs)}"
        needs = {module: others for module, others in needs.items() if module not in ready}


def knots(needs: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of more than one node that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in needs[node]:
            if other not in index:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == index[node]:
            start = stack.index(node)
            result.append(sorted(stack[start:]))
            del stack[start:]

    for node in needs:
        if node not in index:
            visit(node)
    return [knot for knot in result if len(knot) > 1]


@functools.cache
def imported_files() -> dict[str, set[str]]:
    """Return the files that each file imports, in functions too."""
    modules = {"torchbce." + ".".join(Path(file).with_suffix("").parts): file for file in FILES}
    modules |= {module.removesuffix(".__init__"): file for module, file in modules.items()}
    needs = {}
    for file, tree in trees().items():
        names = imports(tree)
        nearest = {name if name in modules else name.rpartition(".")[0] for name in names}
        needs[file] = {modules[name] for name in nearest if name in modules} - {file, "__init__.py"}
    return needs


def test_no_circle_of_files():
    needs = imported_files()
    # The engine calls one of its engines, and these are written in its terms.
    assert [knot for knot in knots(needs) if not all(file.startswith("engine/") for file in knot)] == []


def test_no_knot_of_folders():
    needs: dict[str, set[str]] = {}
    for file, others in imported_files().items():
        needs.setdefault(folder(file), set()).update(map(folder, others))
    assert [knot for knot in knots(needs) if not all(name.startswith("engine") for name in knot)] == []


def test_knots_are_seen():
    assert knots({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_private_names_of_torch_stand_in_one_file():
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and re.match(r"(torch|forward_ad)\.(.*\.)?_[a-zA-Z]", ast.unparse(node)):
                assert file == "engine/torch_internals.py", f"{file}: {ast.unparse(node)}"


def test_every_file_is_in_a_room():
    assert {room(file) for file in FILES} == set(ROOMS)


def test_what_dir_shows_is_public():
    assert dir(torchbce) == sorted([*torchbce.__all__, "__version__"])


def test_a_name_whose_library_is_missing_says_what_to_install():
    script = "import sys; sys.modules['sklearn'] = None; import torchbce; torchbce.BCEClassifier"
    found = forked.run(script)
    assert "torchbce.BCEClassifier needs sklearn" in found.stderr.splitlines()[-1]
    assert "pip install 'torchbce[train]'" in found.stderr.splitlines()[-1]


def test_imports_are_found():
    source = "if TYPE_CHECKING:\n    import a\nimport b.c\ndef f():\n    from torchbce.cli import app\n"
    assert imports(ast.parse(source)) == {"b.c", "torchbce.cli.app"}


def loaded_by(code: str) -> set[str]:
    script = f"import sys\nimport torch\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    run = forked.run(script)
    assert run.returncode == 0, run.stderr
    return {name.split(".")[0] for name in run.stdout.split()}


def test_import_loads_nothing_heavy():
    assert not loaded_by("import torchbce; torchbce.EpochBCE(), torchbce.fit, torchbce.explain") & HEAVY


def test_help_loads_neither_torch_nor_numpy():
    code = "import sys; from torchbce.cli.app import app; app(['--help'], standalone_mode=False)"
    script = f"{code}; print({{'torch', 'numpy', 'polars'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"


def test_what_is_loaded_is_seen():
    assert "polars" in loaded_by("import torchbce.io.files") & HEAVY


def test_files_stay_small():
    assert [str(path) for path in [*FILES.values(), *TESTS] if len(path.read_text().splitlines()) >= 400] == []


def test_versions_agree():
    from importlib.metadata import version

    assert version("torchbce") == torchbce.__version__


def test_no_loss_of_torch_is_used():
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                if file.startswith(("selftest/", "losses/patch.py")):
                    continue  # these compare with torch's and replace them
                allowed = file in ("losses/bce.py", "losses/bce_with_logits.py", "losses/module.py") and text in (
                    "torch.nn.BCELoss",
                    "torch.nn.BCEWithLogitsLoss",
                )
                # What overrides and scripts are given in place of ours.
                allowed |= file.startswith("losses/bce") and text.startswith("torch.nn.functional.")
                banned = ("binary_cross_entropy", "BCELoss", "BCEWithLogitsLoss")
                ours = text.startswith(("functional.", "options.", "reference."))
                assert allowed or ours or not text.endswith(banned), f"{file}: {text}"


def test_the_command_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None\nfrom torchbce.cli import main\nmain()"
    run = forked.run(code)
    assert run.returncode == 2
    assert "the command needs typer; install it with: pip install 'torchbce[train]'" in run.stderr
