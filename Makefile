# Every verb sets up .venv first, if it is not there or the lock has changed.
PROFILE ?= smoke
PYTHON ?= python3

VENV := .venv
READY := $(VENV)/.ready
ROBUSTNB := $(VENV)/bin/robustnb

# The lock pins the accelerator libraries of the default build of torch; another build brings its own.
LOCK := $(if $(UV_TORCH_BACKEND),grep -vE '^(cuda|nvidia|triton)',cat) requirements.txt
INSTALL := $(VENV)/bin/uv pip install --python $(VENV)/bin/python

.PHONY: book test serve lab lint clean

book: $(READY)
	@$(ROBUSTNB) book --profile $(PROFILE)

test: $(READY)
	@$(ROBUSTNB) test

serve: book
	@$(ROBUSTNB) serve --profile $(PROFILE)

lab: $(READY)
	@$(ROBUSTNB) lab

lint: $(READY)
	@$(ROBUSTNB) lint

clean:
	@test ! -x $(ROBUSTNB) || $(ROBUSTNB) clean

$(READY): requirements.txt pyproject.toml
	@echo "Setting up $(VENV) with the packages of requirements.txt"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "robustnb needs Python 3.11 or \
	later: name one, as in make PYTHON=python3.12 book")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet "$$(grep '^uv==' requirements.txt)"
	@$(LOCK) | $(INSTALL) -r -
	@$(INSTALL) --quiet --no-deps -e .
	@$(VENV)/bin/python -c "import matplotlib.font_manager"  # lists the fonts once, for all
	@touch $@
