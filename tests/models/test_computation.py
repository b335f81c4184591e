"""What transformers imports to compute: all it needs, but two libraries when they are called."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from curate.models.computation import LateFunction, called_later

LATE = ("sklearn", "scipy.optimize", "scipy.stats", "pandas")
# A process of its own: here all of it is imported already. The helper model's class is transformers'
# one user of scikit-learn.
LOADED = f"""
import sys, gc
from pathlib import Path
from curate.models.computation import import_embedding
from curate.models.load import load_causal
load_causal(Path(sys.argv[1]), "float32")
print([name for name in {LATE} if name in sys.modules], gc.isenabled())
import_embedding()
print([name for name in {LATE[:3]} if name in sys.modules], gc.isenabled())
from sentence_transformers.util.similarity import pairwise_distances
print(pairwise_distances([[0.0, 3.0]], [[4.0, 0.0]]).tolist())
from transformers.generation import candidate_generator
rates = candidate_generator.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
import sklearn.metrics
same = sklearn.metrics.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
print(all((a == b).all() for a, b in zip(rates, same)), candidate_generator.is_sklearn_available())
import scipy.optimize
print(scipy.optimize.minimize.__module__, type(sys.modules["scipy.optimize"]).__name__)
"""


@pytest.mark.system
def test_a_model_loads_without_what_none_calls_and_what_is_called_works(tiny: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, str(tiny)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    late, embeds, distance, called, whole = done.stdout.splitlines()
    assert late == embeds == "[] True"
    assert distance == "[[5.0]]"
    assert called == "True True"
    assert whole == "scipy.optimize._minimize module"


def test_functions_are_looked_up_when_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with called_later(("colorsys", "sys")):
        from colorsys import rgb_to_hsv

        assert type(sys.modules["colorsys"]).__name__ == "LateModule"
        assert type(sys.modules["sys"]).__name__ == "module"
    assert "colorsys" not in sys.modules
    assert rgb_to_hsv(1.0, 0.0, 0.0) == (0.0, 1.0, 1.0)
    assert type(sys.modules["colorsys"]).__name__ == "module"


def test_functions_that_are_called_meanwhile_are_those_of_the_module_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by another thread, which judges rows while one loads a model."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with called_later(("colorsys",)):
        assert import_module("colorsys").rgb_to_hsv(1.0, 0.0, 0.0) == (0.0, 1.0, 1.0)
        assert type(import_module("colorsys")).__name__ == "module"
    assert type(sys.modules["colorsys"]).__name__ == "module"


def test_what_is_no_function_has_its_attributes() -> None:
    with called_later(("this_is_not_there",)):
        thing = import_module("this_is_not_there").thing
    with pytest.raises(ModuleNotFoundError):
        thing.of_it()
    assert LateFunction("sys", "version_info").major == sys.version_info.major


def test_a_module_that_cannot_be_imported_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), called_later(("colorsys_of_another",)):
        raise ZeroDivisionError
    assert "colorsys_of_another" not in sys.modules
