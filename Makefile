# Each target is a line or two of ordinary tools. The first call of any of them makes the environment `.venv`.
PYTHON = python3
LAB_ARGS =

SHELL := bash
.SHELLFLAGS := -e -u -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help lab test run sync lint
# A backend set in the user's shell would keep notebooks from displaying figures.
unexport MPLBACKEND

PY := .venv/bin/python
READY := .venv/installed

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-5s %s\n", $$1, $$2}' Makefile

lab: $(READY) ## open the book in JupyterLab
	$(PY) -m jupyterlab --ServerApp.root_dir=. $(LAB_ARGS) notebooks/1_what_is_an_autoencoder.ipynb

test: $(READY) ## execute every notebook and run every test
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist=loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300

run: $(READY) ## execute the chapters and keep their outputs
	$(PY) -m tools.run

sync: $(READY) ## bring .md, .ipynb, navigation and README's table together
	$(PY) -m tools.sync

lint: $(READY) ## check style, and that sync has nothing to do
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m tools.sync --check

# The stamp comes last, so an installation that was interrupted is taken up again.
$(READY): requirements.txt pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "The book needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V). Name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make environments: its venv module is incomplete. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv, once: about 3 minutes and 6 GB, most of it PyTorch."
	@"$(PYTHON)" -m venv .venv
	@$(PY) -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt | awk \
	  '/Downloading .* MB\)/ {print "  downloading " $$2, $$3, $$4} /^Installing/ {print "  unpacking"} {fflush()}'
	@touch $@
	@echo "Done."
