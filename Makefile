# Each target is a line or two of ordinary tools. The first call of any of them makes the environment `.venv`.
PYTHON = python3
LAB_ARGS =
# For release, grade and exercises: the sheets of these chapters, as in SHEETS="4.2 4.3"; all if none.
SHEETS =

SHELL := bash
.SHELLFLAGS := -e -u -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help lab test test-browser run sync lint bench html exercises release grade
# The networks of the book are so small that a second thread costs more than it brings, and two threads on two
# busy cores can be twenty times slower than one.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
# A backend set in the user's shell would keep notebooks from displaying figures.
unexport MPLBACKEND

PY := .venv/bin/python
READY := .venv/installed

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

lab: $(READY) ## open the book in JupyterLab
	@test -d exercises || $(PY) -m tools.course exercises
	$(PY) -m jupyterlab --ServerApp.root_dir=. $(LAB_ARGS) notebooks/1_what_is_an_autoencoder.ipynb

test: $(READY) ## execute every notebook and run every test
	$(PY) -m pytest -n 2 --dist=loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300

test-browser: html ## build the site, look at it and at JupyterLab in Chromium (Debian: apt install chromium)
	$(PY) -m pytest -n 2 --dist=loadfile tests/browser

run: $(READY) ## execute the chapters and keep their outputs
	$(PY) -m tools.run

html: $(READY) ## build the site in _build/html, from the outputs that the notebooks hold
	$(PY) -m tools.site

sync: $(READY) ## bring .md, .ipynb, navigation, references and README's table together
	$(PY) -m tools.sync

exercises: $(READY) ## put the sheets without solutions into exercises/; what is there stays
	$(PY) -m tools.course exercises $(SHEETS)

release: $(READY) ## for teachers: write the sheets for students to release/
	$(PY) -m tools.course release $(SHEETS)

grade: $(READY) ## for teachers: grade submitted/, write feedback/ and marks.csv
	$(PY) -m tools.course grade $(SHEETS)

lint: $(READY) ## check style, and that sync has nothing to do
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m tools.sync --check

bench: $(READY) ## measure speed beside other loops, and a paper's table: benchmarks/results, 20 minutes
	$(PY) benchmarks/training_speed.py --threads 1
	$(PY) benchmarks/training_speed.py --threads 2
	$(PY) benchmarks/training_speed.py --model conv --threads 1 --epochs 3
	$(PY) benchmarks/scaling.py --threads 1
	$(PY) benchmarks/paper_table.py --json

# The stamp comes last, so an installation that was interrupted is taken up again. An environment that works is
# kept, whatever PYTHON says now: two Pythons in one folder do not work.
$(READY): requirements.txt pyproject.toml
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
	  fail() { echo "$$1" >&2; exit 1; }; \
	  command -v "$(PYTHON)" >/dev/null || \
	    fail "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    fail "The book needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V). Name another: make PYTHON=python3.11"; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    fail "This Python cannot make environments. On Debian and Ubuntu: sudo apt install python3-venv"; \
	  "$(PYTHON)" -m venv --clear .venv; }
	@echo "Setting up .venv, once: about 3 minutes and 6 GB, most of it PyTorch."
	@$(PY) -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt | awk \
	  '/Downloading .* MB\)/ {print "  downloading " $$2, $$3, $$4} /^Installing/ {print "  unpacking"} {fflush()}'
	@touch $@
	@echo "Done."
