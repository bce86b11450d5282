# Works with uv and without it. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
WITH_UV := $(if $(UV),yes,no)
# uv chooses a fitting Python by itself, unless one is named: make demo PYTHON=python3.14
UV_PYTHON_OPTION := $(if $(filter file default undefined,$(origin PYTHON)),,--python $(PYTHON))

# What counts for coverage, what mostly waits and runs side by side (simulations among it, which would take several times as long
# where coverage is measured), what computes and runs two at a time, and what measures and so runs alone. By work stealing a
# process gets neighbours, which share what is made once for a file.
integration = $(addprefix tests/integration/test_,$(addsuffix .py,$(1)))
COVERED := tests/unit $(call integration,serve_command service backends compare_failures)
PAIRS := $(call integration,top_command dashboards textbook_cells)
ALONE := $(call integration,lens classify serve_lens flame_shares generator compare_command loadtests textbook_loops)
BESIDE := $(filter-out $(COVERED) $(PAIRS) $(ALONE),$(wildcard tests/integration/test_*.py)) tests/simulations

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## install, compare the demo set under load, measure the textbook, print the verdicts, name the report
	$(BIN)/gilscope compare --textbook

test: lint ## install what tests need, lint, type-check, test everything
	$(BIN)/pytest $(COVERED) --numprocesses=3 --dist=worksteal --hypothesis-profile=traced --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)
	$(BIN)/pytest $(BESIDE) --numprocesses=5 --dist=worksteal $(PYTEST_ARGS)
	$(BIN)/pytest $(PAIRS) --numprocesses=2 --dist=worksteal $(PYTEST_ARGS)
	$(BIN)/pytest $(ALONE) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed ## what gilscope costs: the service, watching (WATCHED=python3.15: on that Python), large graphs, recording
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/gil_wait.py $(if $(WATCHED),--python $(WATCHED))
	$(BIN)/python benchmarks/observers.py $(if $(WATCHED),--python $(WATCHED))
	$(BIN)/python benchmarks/graphs.py
	$(BIN)/python benchmarks/recording.py
	$(BIN)/python benchmarks/stall.py

audit: $(VENV)/.installed ## known vulnerabilities of what is installed (asks a vulnerability service)
ifeq ($(WITH_UV),yes)
	uv tool run pip-audit --path $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") --skip-editable --strict
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --skip-editable --strict
endif

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*

# uv installs exactly what uv.lock names; pip resolves pyproject.toml.
$(VENV)/.installed: pyproject.toml uv.lock
ifeq ($(WITH_UV),yes)
	uv sync --quiet --no-dev --inexact $(UV_PYTHON_OPTION)
else
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
endif
	@touch $@

$(VENV)/.installed-dev: pyproject.toml uv.lock
ifeq ($(WITH_UV),yes)
	uv sync --quiet --group classify-extras $(UV_PYTHON_OPTION)
else
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary bcrypt,lxml,numpy,orjson,pandas,pillow \
	    --editable . --group dev --group classify-extras
endif
	@touch $@ $(VENV)/.installed
