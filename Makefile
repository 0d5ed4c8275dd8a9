# Two commands do everything on a fresh machine with Python 3.11 or newer, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check lint types contracts fuzz simulate chaos bench bench-peers clean help

help:            ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

setup: $(STAMP)  ## Make .venv with everything in it; the command is .venv/bin/nightshift

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: install your system's python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(STAMP)

demo: setup      ## Run a real plan on the embedded server, to the end
	@$(BIN)/python examples/demo/demo.py

test: setup      ## All tests
	$(BIN)/python -m pytest -q -n 3 --dist loadscope $(ARGS)

check: lint types contracts  ## What a machine can say without running anything

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

fuzz: setup      ## Coverage-guided fuzzing of the plan readers; RUNS inputs (an hour is about 800,000)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@seeds=$$(mktemp -d) && PYTHONPATH=. $(BIN)/python tests/fuzz/readers.py $$seeds -runs=$(or $(RUNS),20000) \
		-max_len=16384 -timeout=20 -rss_limit_mb=2048 -verbosity=0; status=$$?; rm -rf $$seeds; exit $$status

simulate: setup  ## Seeded nights with faults: make simulate N=10000 SEED=1 JOBS=2
	@$(BIN)/python -m tests.simulation --n $(or $(N),1000) --seed $(or $(SEED),1) --jobs $(or $(JOBS),1)

chaos: setup     ## Kill real processes and servers: make chaos N=10 SEED=1 JOBS=1
	@$(BIN)/python -m tests.chaos --runs $(or $(N),5) --seed $(or $(SEED),1) --jobs $(or $(JOBS),1)

bench: setup     ## Measure, against limits in the same run; make bench ARGS="W1 W2" for some
	@$(BIN)/python -m bench --peers $(ARGS)

bench-peers: setup  ## Make environments for DBOS, Prefect and Restate (PyPI, npm), and measure W1 to W4 beside them
	@$(BIN)/python -m bench.peers
	@$(BIN)/python -m bench --peers W1 W2 W3 W4

clean:           ## Remove the environment and caches; state is in NIGHTSHIFT_HOME and stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
