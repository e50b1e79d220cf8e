# One command each, the same by hand, in hooks and in CI. `make help` lists them.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo serve test soak check format openapi bench

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## make .venv with the project in it (PYTHON=python3.12 to choose the interpreter)

$(INSTALLED): pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh $(VENV)
	@touch $@

demo: $(INSTALLED) ## index Python's own documentation and serve it (ARGS="--quick --ask": a tenth of it, three questions, the end)
	@$(BIN)/parecido demo $(ARGS)

serve: $(INSTALLED) ## answer searches over HTTP (ARGS="--port 8000")
	@$(BIN)/parecido serve $(ARGS)

test: $(INSTALLED) ## run the tests, offline, by two processes (ARGS="-k filters -x", or "-n 0" for one process)
	@HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 --dist loadfile $(ARGS)

soak: $(INSTALLED) ## kill 200 runs at random moments, and 50 that pay for vectors, and see that nothing is lost (ARGS="--seed 7")
	@HF_HUB_OFFLINE=1 $(BIN)/python tests/soak.py $(ARGS)
	@HF_HUB_OFFLINE=1 $(BIN)/python tests/soak_openai.py $(ARGS)

check: $(INSTALLED) ## lint, format, types and the walls between the parts; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

openapi: $(INSTALLED) ## write openapi.json anew, after a change of the routes
	@$(BIN)/python tools/write_openapi.py > openapi.json.new && mv openapi.json.new openapi.json

bench: $(INSTALLED) ## measure speed, recall and memory and write benchmarks/RESULTS.md (ARGS="NAME ..." for one alone)
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks $(or $(ARGS),all)
