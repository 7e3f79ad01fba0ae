# The README's commands. Everything happens in a virtual environment of its own, .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: demo test lint julia-dev julia-test long-runs bench examples docs docs-test notebooks clean

# Install, set up Julia, and reproduce the published figure 1: pictures in out/.
demo: $(VENV)/installed
	$(BIN)/ssnn setup
	$(BIN)/ssnn reproduce figure1 --out $(OUT)

# A file's tests run in one process: what Julia has compiled for one of them serves the next. The time of most is Julia's
# compiler, and less optimisation halves it; of these it is the computation.
LONG_RUNS := tests/test_choosing_solvers.py tests/test_experiments.py tests/test_laws.py tests/test_loss_entries.py \
	tests/test_signature_kernels.py tests/test_unbiased.py
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: $(VENV)/installed-dev
	$(MAKE) --no-print-directory -j3 lint julia-test long-runs
	SSNN_JULIA_OPTIMIZE=1 $(PYTEST) $(LONG_RUNS:%=--ignore=%)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

julia-dev: $(VENV)/installed-dev
	$(BIN)/ssnn setup

julia-test: julia-dev
	$(BIN)/python julia/test/run.py

long-runs: julia-dev
	$(PYTEST) $(LONG_RUNS)

bench: $(VENV)/installed
	$(BIN)/ssnn setup
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/reverse_mode.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/input_spikes.py
	$(BIN)/python benchmarks/kernels.py 32
	$(BIN)/python benchmarks/formula_models.py

examples: $(VENV)/installed
	$(BIN)/ssnn setup
	for example in examples/*.py; do \
		needs=; quick=; \
		case $$example in *torch*) needs=torch;; *digits*) needs=sklearn;; esac; \
		case $$example in *yin_yang*|*digits*|*noise_levels*) quick=--quick;; esac; \
		test -z "$$needs" || $(BIN)/python -c "import $$needs" 2> /dev/null \
			|| { echo "$$example: left out, $$needs is not installed"; continue; }; \
		$(BIN)/python $$example --out $(OUT) $$quick || exit 1; \
	done

# The documentation, examples run: docs/_build/html/index.html.
docs: $(VENV)/installed-docs
	$(BIN)/ssnn setup
	$(BIN)/python -m sphinx -b html -W --keep-going docs docs/_build/html

docs-test: docs $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/test_docs.py

# The tutorial, the how-to pages and the gallery as notebooks that have run: $(OUT)/notebooks.
notebooks: $(VENV)/installed-notebooks
	$(BIN)/ssnn setup
	$(BIN)/python docs/notebooks.py --out $(OUT)/notebooks

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/installed

$(VENV)/installed-notebooks: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[notebooks]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) docs/_build docs/auto docs/reference/generated $(OUT) dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
