# The two commands that matter: `make demo` and `make test`. Both make .venv first; the second time that takes no time.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ESPNET := .venv-espnet/.ready
# how much ESPnet is asked: full (a quarter of an hour on one core) or tiny (what CI asks)
ORACLE ?= full

.DEFAULT_GOAL := help
.PHONY: help demo test docs oracle lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## transcribe and translate the shipped clips, dense and pruned
	$(BIN)/skipwise demo

test: $(READY) ## run the test suite
	$(BIN)/python -m pytest

# without jaxtyping's hook, as signatures are read and nothing is called
docs: $(READY) ## build the documentation into docs/_build/html; a warning or a broken link is an error
	PYTHONPATH=src JAXTYPING_DISABLE=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html

oracle: $(READY) $(ESPNET) ## compare with ESPnet, and put gates on its models (installs it into .venv-espnet)
	$(BIN)/python -m pytest tests/interop/test_oracle.py tests/interop/test_reference.py --oracle $(ORACLE)
	.venv-espnet/bin/python -m pytest tests/interop/native

lint: $(READY) ## ruff, pyrefly and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports --no-logo

format: $(READY) ## format the code and sort the imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

clean: ## remove .venv, .venv-espnet and the caches
	rm -rf docs/_build .venv .venv-espnet .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch on its own first: the largest download, and a build that you chose (PIP_INDEX_URL) is kept.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: skipwise needs Python 3.11 or newer, got: $$($(PYTHON) --version 2>/dev/null || echo 'no $(PYTHON)')." >&2; \
	  echo "make: name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "make: could not make .venv. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "make: installing into .venv (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev,docs]'
	@touch $@

# ESPnet borrows torch from .venv, so that both sides compute with the same.
$(ESPNET): tests/interop/requirements-espnet.txt tests/interop/environment.py $(READY)
	@echo "make: installing ESPnet into .venv-espnet"
	@$(BIN)/python tests/interop/environment.py .venv-espnet
	@touch $@
