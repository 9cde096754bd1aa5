# make demo   install what running needs and do the main job on the data in the repository
# make test   install what testing needs, then lint, types and all tests
# make test-slow   let every algorithm learn: minutes of training
# make test-real   compare conversions of real files with facts derived without us; fetches the files unless they are in $RLBUFFERS_REAL_FILES
# make peers  an environment with the libraries that benchmarks and test-peers compare with
# make test-peers   let these libraries read what is exported, and compare
# make docs   the documentation as a site, in build/docs
# make help   this list
# Another Python gets an environment of its own: make test PYTHON=python3.13
PYTHON ?= python3.11
VENV := $(if $(filter python3.11,$(notdir $(PYTHON))),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
REAL_FILES := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rlbuffers/real
INPUTS := pyproject.toml constraints.txt

.PHONY: help demo test lint types tests test-slow test-real peers test-peers docs clean
help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(INPUTS) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.dev: $(INPUTS) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/python benchmarks/demo.py

test: lint types tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy cannot follow the mapping of the package rlbuffers_cli to the folder cli; a link shows it the way.
types: $(VENV)/.dev
	@mkdir -p $(VENV)/types && ln -sfn $(CURDIR)/cli $(VENV)/types/rlbuffers_cli
	MYPYPATH=$(VENV)/types:. $(BIN)/mypy

# TESTS: what to run of them, such as tests/core
tests: $(VENV)/.dev
	$(BIN)/pytest -n 2 -q $(TESTS)

# One worker: several would each make the data, which takes as long as the trainings.
test-slow: $(VENV)/.dev
	$(BIN)/pytest -q -m slow

test-real: $(VENV)/.dev
	[ -n "$$RLBUFFERS_REAL_FILES" ] || $(BIN)/python tests/real/fetch.py $(REAL_FILES)
	RLBUFFERS_REAL_FILES=$${RLBUFFERS_REAL_FILES:-$(REAL_FILES)} $(BIN)/pytest -n 2 -q -rs tests/real

peers: .venv-peers/.done
.venv-peers/.done: benchmarks/peers/requirements.txt benchmarks/peers/without-dependencies.txt $(INPUTS)
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --requirement $<
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--requirement benchmarks/peers/without-dependencies.txt
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

test-peers: .venv-peers/.done
	.venv-peers/bin/python -m pytest -q -p no:cacheprovider tests/peers

# The pages stand in the repository as readers of it expect them; the site is built of links to them.
docs: $(VENV)/.docs
	rm -rf build/docs-src && mkdir -p build/docs-src
	ln -s $(CURDIR)/README.md $(CURDIR)/CONTRIBUTING.md $(CURDIR)/CHANGELOG.md $(CURDIR)/docs $(CURDIR)/data_cards build/docs-src
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

$(VENV)/.docs: $(VENV)/.dev
	$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv .venv-* demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
