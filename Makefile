# The two commands of the README are `make up` and `make test`. Both make sure of one shared environment, .venv, first
# (tools/env.sh; nothing to do when repeated), need no root, and can be run side by side.

VENV := .venv
PY := $(VENV)/bin/python
JOBS ?= 2
ARGS ?=
PYTEST := $(PY) -m pytest -n $(JOBS) --dist loadfile -o faulthandler_timeout=180

.DEFAULT_GOAL := help
.PHONY: help up test test-slow lint types coverage bench peers verify-1 verify-2 verify-3 errors-page admin-api-page env env-dev \
  clean

help: ## Say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

up: env ## Start Trimtab in the foreground; options go in ARGS, as in: make up ARGS="--port 9000"
	@exec $(VENV)/bin/trimtab up $(ARGS)

test: env-dev lint types ## Lint, types, and every test that is not marked slow (minutes)
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: env-dev ## The tests that take long: kill -9 under load, soak, mutants
	@$(PYTEST) -m slow $(ARGS)

lint: env-dev ## ruff (rules and format) and the import contracts
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check . || \
	  { echo "Some files are not in ruff's format; run: $(VENV)/bin/ruff format ." >&2; exit 1; }
	@said=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$said" >&2; exit 1; }

types: env-dev ## mypy --strict
	@$(VENV)/bin/mypy --no-error-summary

coverage: env-dev ## Lines covered, room by room (the limit stands in `make verify-1`)
	@$(PY) -m tools.coverage $(ARGS)

bench: env ## CPU, latency and memory beside nginx; needs gcc and nginx, and says so. ARGS="--help" for more
	@$(PY) -m bench.gateway $(ARGS)

peers: env ## The same load on LiteLLM's proxy and TensorZero, in environments of their own
	@$(PY) -m bench.peers $(ARGS)

verify-1: env-dev ## Every promise of the first issue, with its figure; ARGS="--only NAME" for one
	@$(PY) -m tools.verify $(ARGS)

verify-2: env-dev ## Every promise of the second issue: console, SDK, privacy; ARGS="--only NAME" for one
	@$(PY) -m tools.verify --issue 2 $(ARGS)

verify-3: env-dev ## Every promise of the third issue: money, limits, resilience; ARGS="--only NAME" for one
	@$(PY) -m tools.verify --issue 3 $(ARGS)

errors-page: env ## Write docs/reference/errors.md anew from the code
	@$(PY) -m tools.errors_page

admin-api-page: env ## Write docs/reference/admin-api.md anew from the table of routes
	@$(PY) -m tools.admin_api_page

env:
	@tools/env.sh run

env-dev:
	@tools/env.sh dev

clean: ## Remove what make made: environments, caches, builds. Data and models stay
	@rm -rf $(VENV) bench/.build bench/.peers dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .coverage .coverage.*
	@find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +
