# `make demo` and `make test` set up everything they need in .venv; a fresh machine has Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
# Tests that run at a time, for each of which a CPU and 2 GB of memory are right.
JOBS ?= 2
BIN := $(VENV)/bin

# Two targets at a time would make one environment twice.
.NOTPARALLEL:
.PHONY: demo test lint types docs check bench clean

demo: $(VENV)/.installed
	$(BIN)/iem-xp demo --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: lint types test docs

bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python benchmarks/fused_engine.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/array_engine.py --memory

# An installation that was not editable leaves compiled code there, which would hide this one.
LEFT = rm -rf $(VENV)/lib/python*/site-packages/iem_xp

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(LEFT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(LEFT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist site iem-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
