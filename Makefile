# Every target sets up its own environment; nothing is needed but Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
# more than two cores have, as some tests wait for processes of their own
PYTEST := -m pytest -n 3 --dist worksteal
test test-all test-fast test-lowest: export OMP_NUM_THREADS = 1

.PHONY: train test test-all test-fast test-lowest check docs format bench-ihvp clean

train: .venv/installed  ## the main job: digits, about two minutes
	$(BIN)/python train.py fit --config configs/digits.yaml

test-fast: .venv/installed  ## units and properties: all tests not marked slow, about 100 seconds on two cores
	$(BIN)/python $(PYTEST) -m "not slow"

test: .venv/installed  ## all tests not marked long, under 7 minutes on two cores
	$(BIN)/python $(PYTEST) -m "not long"

test-all: .venv/installed  ## all tests, before a release: under 10 minutes on two cores
	$(BIN)/python $(PYTEST)

test-lowest: .venv-lowest/installed  ## the fast tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python $(PYTEST) -m "not slow" -W default

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

.venv-bench/installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable '.[bench]'
	@touch $@

# Finds in .venv what tests/lowest.txt does not name: torch would be gigabytes more.
.venv-lowest/installed: .venv/installed tests/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$(.venv-lowest/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/newest.pth"
	.venv-lowest/bin/python -m pip install --quiet --requirement tests/lowest.txt
	@touch $@

.venv/installed: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "augfluence needs Python 3.11 or newer; found: $$($(PYTHON) --version). Say PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-bench .venv-lowest site .pytest_cache .mypy_cache .ruff_cache
