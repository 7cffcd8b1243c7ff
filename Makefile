# make demo   maps a synthetic landscape and draws the map
# make test   linters, types, and the tests that take seconds
# Both do all set-up themselves: they need Python 3.11 or 3.12, git and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.installed

# The tests start hundreds of processes that import the package: it is compiled by the first, whatever is set outside.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint types fast notebooks notebooks-store docs format bench clean

help:
	@echo "make demo       map a synthetic landscape on Dask and draw the map"
	@echo "make test       lint, types, fast tests (under 10 minutes on two cores, with the install)"
	@echo "make test-slow  notebooks, and the tests that take longer"
	@echo "make notebooks-store  run the notebooks and store them with their outputs"
	@echo "make docs       the documents as a site, in out/docs"
	@echo "make format     let ruff format and mend what it can"
	@echo "make bench      throughput, memory and alignment, as tables"
	@echo "make clean      remove the environment, caches and outputs"

# The pip that Python 3.11 brings takes three times as long to read the lists of releases. Of the installed files, one in
# five is ever imported: it is compiled then.
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python {sys.version.split()[0]} is older than 3.11: run make PYTHON=/path/to/python3.11")'
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-compile --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/landweave demo

# One recipe, in order whatever -j says, so that pytest's closing line is the last.
test: setup
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory fast

test-slow: setup
	$(MAKE) --no-print-directory notebooks
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not gpu and not network" --timeout 1200 --durations 10

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	MYPY_NUM_WORKERS=2 $(BIN)/mypy

fast: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10

notebooks: setup
	$(BIN)/pytest --nbmake notebooks --timeout 900

notebooks-store: setup
	$(BIN)/python notebooks/store.py

docs: setup
	$(BIN)/sphinx-build -W --keep-going -q -c docs -d out/doctrees . out/docs
	@echo "open out/docs/index.html"

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/align.py

clean:
	rm -rf .venv build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
