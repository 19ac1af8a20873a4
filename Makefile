# Every verb sets up .venv first, if it is not there or the lock has changed.
PROFILE ?= smoke
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The lock pins the accelerator libraries of the default build of torch; another build brings its own.
LOCK := $(if $(UV_TORCH_BACKEND),grep -vE '^(cuda|nvidia|triton)',cat) requirements.txt
# Compiled once, here, since some machines forbid Python to keep what it compiles at each start.
INSTALL := $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python

.PHONY: book test serve lab lint clean

book: $(READY)
	@$(BIN)/robustnb book --profile $(PROFILE)

test: $(READY)
	@$(BIN)/pytest

serve: book
	@$(BIN)/robustnb serve --profile $(PROFILE)

lab: $(READY)
	@$(BIN)/robustnb lab

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/oxlint robustnb tests

clean:
	@rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.txt pyproject.toml
	@echo "Setting up $(VENV) with the packages of requirements.txt"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "robustnb needs Python 3.11 or \
	later: name one, as in make PYTHON=python3.12 book")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.txt)"
	@$(LOCK) | $(INSTALL) -r -
	@$(INSTALL) --quiet --no-deps -e .
	@$(BIN)/python -c "import matplotlib.font_manager"  # lists the fonts once, for all
	@touch $@
