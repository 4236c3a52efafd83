# What to type; `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment .venv with everything in it

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q nnvvc
	touch $(READY)

demo: $(READY) ## encode and decode a clip made from a photo; print bytes, PSNR, speed
	$(BIN)/python -m tools.demo

test: $(READY) ## run the tests
	$(BIN)/python -m pytest

lint: $(READY) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## bring the source into the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(READY) ## write docs/format.md anew from the declarations
	$(BIN)/python -m nnvvc.bitstream.document > docs/format.md

clean: ## remove what is made here, the environment and the training runs kept
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

.PHONY: help setup demo test lint format docs clean
