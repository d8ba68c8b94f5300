# Each target installs what it needs into .venv; nothing has to be there but Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install demo chromium test soak hostile mutants lint bench bench-board lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(STAMP) ## Install everything into .venv, pinned and checked by hash

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %s: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Run the whole thing on this machine: make demo ARGS="--seconds 90"
	$(BIN)/dialysis-alerts demo $(ARGS)

# The pages of the unit screen are tested in the Chromium of the machine; the tests say what to do where it cannot be had.
chromium:
	@command -v chromium > /dev/null || (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y chromium) > /dev/null 2>&1 || true

test: $(STAMP) chromium ## Run all tests (they start their own Kafka): make test ARGS="-k magnesium", one by one with ARGS="-n0"
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(STAMP) ## Kill workers and brokers for about 20 minutes: make soak ARGS="--fault kill-late --seed 7"
	$(BIN)/python -m tests.chaos $(ARGS)

hostile: $(STAMP) ## Attack a worker in every way we know, about 6 minutes: make hostile ARGS="--case hot-loop"
	$(BIN)/python -m tests.hostile $(ARGS)

mutants: $(STAMP) ## Change rules and engine in 400 places, one at a time, and see that tests fail: two hours or so
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --upgrade \
		--target $(VENV)/mutants -r tests/mutants/requirements.txt
	$(BIN)/python -m tests.mutants $(ARGS)

lint: $(STAMP) ## Ruff, strict types, import directions, file length
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## Measure against an idiomatic Faust app on a real Kafka
	$(BIN)/python -m benchmarks $(ARGS)

bench-board: $(STAMP) chromium ## Measure the unit screen, server and Chromium, about 15 minutes: make bench-board ARGS="--minutes 2"
	$(BIN)/python -m benchmarks.board $(ARGS)

LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate

lock: $(STAMP) ## Renew the pinned requirements from pyproject.toml
	$(LOCK) --upgrade --extra broker --extra dev pyproject.toml -o requirements.txt
	$(LOCK) -c requirements.txt pyproject.toml -o deploy/requirements.txt
	echo 'mutmut>=3.8' | $(LOCK) - -o tests/mutants/requirements.txt
	echo hatchling | $(LOCK) -c requirements.txt - -o deploy/requirements-build.txt

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
