# make demo   the demo in the browser      make test   the test suite
# make slow   the tests that it leaves out make types  mypy
# make lint   ruff, lint and format        make format ruff fixes what it can
# make clean  remove what these made
# make licences  the licences of all that is installed with it
#
# Each makes .venv and installs what it needs, once; it does so again when a requirements file changes.
# Another interpreter: make demo PYTHON=python3.12

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)

.PHONY: demo test slow lint format types licences clean
.DEFAULT_GOAL := demo
USUAL := not slow and not attack

demo: $(VENV)/.installed
	$(BIN)/python app.py

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "$(USUAL) and not browser" -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "$(USUAL) and browser"

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "slow and not attack and not browser" -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "slow and not attack and browser"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

licences: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.licences

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

# Where Python came without ensurepip (Debian without python3-venv), the outer pip fills the environment.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 | head -n 1)." \
			"Install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV) || { \
		$(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@
