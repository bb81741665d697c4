# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
unexport PYTHONDONTWRITEBYTECODE  # or each of the hundreds of processes that tests start compiles everything anew

.PHONY: help venv demo test test-fast lint check docs format chart sbom image-proof torch lock clean

help:  ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and f"Tidemill needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; name another one: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (on Debian: python3-venv)" >&2; exit 1; }
	@echo "Creating $(VENV) from requirements.lock: about a minute, once ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(PIP) install -qq --no-deps --require-hashes -r $(VENV)/uv.lock
	@.ci/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements.lock || { \
		echo "uv could not install the packages; pip does it now, in about five minutes ..." >&2; \
		$(PIP) install -qq --no-deps --require-hashes -r requirements.lock; }
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

venv: $(STAMP)  ## Make .venv from requirements.lock; the targets below do so, too.

demo: $(STAMP)  ## Run the whole loop on the flights of 2013, in workspace/.
	@$(BIN)/tidemill demo

# Those that start servers first, of each room one after the other, which is mostly waiting; the others beside them.
# What failed runs once more, alone and up to the first failure: a test that only then passes is named, and a
# fault of that test or of what it tests.
test: $(STAMP)  ## Run all tests.
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder || { \
		[ $$? = 1 ] && echo "unsteady, if it passes now:" && \
		$(BIN)/python -m pytest --exitfirst --last-failed --last-failed-no-failures none -rfEp; }

test-fast: $(STAMP)  ## Run the tests that start no engine and no server.
	@$(BIN)/python -m pytest -q -m 'not engine and not e2e and not slow' --numprocesses 3

lint: $(STAMP)  ## Check format, style and the direction of imports.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache

check: $(STAMP) docs  ## Check types; build the documentation.
	@$(BIN)/mypy

docs: $(STAMP)  ## Build the documentation's site in site/; a warning is an error.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(STAMP)  ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

chart: $(STAMP)  ## Write the README of the Helm chart from its values.
	@$(BIN)/python helm/values_table.py

sbom: $(STAMP)  ## Write what .venv has as a bill of materials (CycloneDX), sbom.json.
	@$(BIN)/python .ci/sbom > sbom.json

# Not in `make test`: it takes minutes, three gigabytes, root (for chroot) and debootstrap.
image-proof: $(STAMP)  ## Run the Containerfile in a clean Debian, and each entry point of the chart in what it makes.
	@[ "$$(id -u)" = 0 ] || { echo "make image-proof needs root, for chroot" >&2; exit 1; }
	@command -v debootstrap >/dev/null || { echo "make image-proof needs debootstrap: apt-get install debootstrap" >&2; exit 1; }
	@IMAGE_PROOF=$${IMAGE_PROOF:-/var/tmp/tidemill-image} $(BIN)/python -m pytest -q --timeout 3600 tests/helm/test_image_proof.py

# Not in the lock: its usual build brings gigabytes for graphics cards. Where pip finds no build for CPUs, its
# tests are skipped, and say so.
torch: $(STAMP)  ## Add PyTorch for CPUs, if pip finds it, for the tests that need it.
	@$(PIP) install -qq 'torch==2.13.0+cpu' 'onnxscript==0.7.2'

lock: $(STAMP)  ## Pin the dependencies anew; pins that still fit stay.
	@.ci/uv pip compile pyproject.toml --quiet --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

clean:  ## Remove everything that was made here.
	@rm -rf $(VENV) workspace site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
