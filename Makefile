# Two commands matter: `make demo` (the main job on the embedded cloud) and `make test` (every check).
# Both set up all they need; nothing is expected but Python 3.11-3.13, git and make.

# The newest supported Python that really starts (a version manager's shim may exist and fail).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { command -v "$$p"; break; }; done)

BIN := .venv/bin
ENVS := .envs/sam/.ready .envs/lambda/.ready .envs/training/.ready .envs/glue/.ready

.PHONY: demo test test-slow test-faults test-permissions permissions-table setup local-up local-down format lint types screenshots clean

setup: .venv/.ready $(ENVS)

demo: setup
	$(BIN)/ratchet demo

test: setup .envs/checkov/.ready lint types
	$(BIN)/pytest -n 2 --no-loadscope-reorder

test-slow: setup
	$(BIN)/pytest -m slow

test-faults: setup
	$(BIN)/pytest tests/faults -m ""

# What end-to-end tests make roles call, in `RECORDING`; then each grant is taken away over it, and some in a running cloud.
RECORDING := .ratchet/permissions.jsonl

test-permissions: setup
	rm -f $(RECORDING)
	$(BIN)/pytest tests/e2e -m "not slow or permissions" --recording $(RECORDING)
	$(BIN)/pytest tests/permissions -m permissions --recording $(RECORDING)

permissions-table: setup
	$(BIN)/python -m docs.permissions $(RECORDING)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/cfn-lint -- template.yaml

types: setup
	$(BIN)/mypy
	MYPYPATH=jobs/model $(BIN)/mypy jobs  # flat modules, as in the container

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

local-up: setup
	$(BIN)/ratchet local up

local-down: setup
	$(BIN)/ratchet local down

bench-validation: .envs/bench/.ready

bench-%: setup
	$(BIN)/python benchmarks/$(subst -,_,$*).py

screenshots: setup .envs/screenshots/.ready
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf .aws-sam .ratchet .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.ready: requirements/tools.txt requirements/samples.txt pyproject.toml | python-found
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements/samples.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.envs/%/.ready: requirements/%.txt | python-found
	$(PYTHON) -m venv --clear .envs/$*
	.envs/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/$*.txt
	touch $@

.PHONY: python-found
python-found:
	@test -n "$(PYTHON)" || { echo "Ratchet needs Python 3.11, 3.12 or 3.13 on the path (or: make PYTHON=/path/to/python3.13 ...). Found none that starts."; exit 1; }
