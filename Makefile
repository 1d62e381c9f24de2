# make demo          install, then a real conclusion report on data/sample/
# make lab           the notebooks in JupyterLab
# make test          install, then every test
# make test-faults   kill, fill, cut and jump on purpose; writes docs/faults.md
# make test-spark    the queries on a Spark 4 of this machine; needs Java 17, installs 490 MB once
# make check         format, lint, types, import contracts, SQL
# make bench         speed and memory beside peers; writes docs/benchmarks.md
# make bench-stats   what the statistics promise; writes docs/statistics-evidence.md
# make bench-redact  what redaction finds; writes docs/redaction-evidence.md
# make sample        data/sample/, its notebooks and the golden files, made anew
# make docs          the reference of commands, docs/cli.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := build/demo

.PHONY: help install demo test test-faults test-spark check format lab bench bench-stats bench-redact docs sample lock clean

help:
	@sed -n 's/^# make /make /p' Makefile

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kaizen_analytics needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python data/demo.py $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

# Kill, fill, cut and jump on purpose; writes docs/faults.md and fails on any loss.
test-faults: $(STAMP)
	$(BIN)/python tests/faults/run_faults.py

# The same tests run on Sail in `make test`; this is the Spark that clusters run.
test-spark: $(STAMP)
	$(BIN)/python tests/spark4/run_spark.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
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

# The peers are no dependencies of ours; where one cannot be installed, the page says so.
bench-redact: $(STAMP)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --target build/peers --upgrade \
	  detect-secrets==1.5.0 hyperscan==0.9.1
	PYTHONPATH=build/peers $(BIN)/python -m benchmarks.bench_redact

# Write the pages of docs/ that are derived from the code.
docs: $(STAMP)
	$(BIN)/python -m typer kaizen_analytics.cli utils docs --name kaizen-analytics --output docs/cli.md

sample: $(STAMP)
	$(BIN)/python data/make_sample.py
	$(BIN)/python data/execute_notebooks.py
	$(BIN)/python data/write_golden.py

# uv is only needed to renew the lock, never to install.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
