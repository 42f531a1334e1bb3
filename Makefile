# Everything happens inside this folder: .venv, results, caches.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GRID ?= config/quick.yaml
PAPER ?= config/paper.yaml
CACHE := $(CURDIR)/.cache
RUN := mkdir -p "$(CACHE)/tmp" && env XDG_CACHE_HOME="$(CACHE)" MPLCONFIGDIR="$(CACHE)" TMPDIR="$(CACHE)/tmp"

.PHONY: reproduce test lint paper install clean

reproduce: $(VENV)/installed  ## train the quick grid and build its figures, tables and paper
	$(RUN) $(BIN)/snakemake --configfile $(GRID)

paper: $(VENV)/installed  ## rebuild a grid's reports and paper from its committed records
	$(RUN) $(BIN)/snakemake --configfile $(PAPER) --config partial=true

test: $(VENV)/installed  ## run the test suite
	$(RUN) $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed  ## formatting, lint, types, workflow
	$(RUN) $(BIN)/ruff check .
	$(RUN) $(BIN)/ruff format --check .
	$(RUN) $(BIN)/mypy
	$(RUN) $(BIN)/snakefmt --check Snakefile rules
	$(RUN) $(BIN)/snakemake --lint
	$(BIN)/hadolint Dockerfile

install: $(VENV)/installed  ## create .venv and install, with pinned versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"hypercoop needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev,wandb,cluster]'
	touch $@

clean:  ## remove caches and logs; results and the environment stay
	rm -rf .cache .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
