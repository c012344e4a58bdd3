# Every target sets up its own environment; nothing is needed but Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test check docs format bench-ihvp clean

train: .venv/installed  ## the main job: digits, about two minutes
	$(BIN)/python train.py fit --config configs/digits.yaml

test: .venv/installed  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: .venv/installed docs  ## lint, format, types, import rules, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed  ## the documentation site, into site/; warnings are errors
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-ihvp: .venv-bench/installed  ## inverse-Hessian-vector products beside other libraries, about an hour
	.venv-bench/bin/python -m benchmarks.ihvp

.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable '.[bench]'
	@touch $@

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "augfluence needs Python 3.11 or newer; found: $$($(PYTHON) --version). Say PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-bench site .pytest_cache .mypy_cache .ruff_cache
