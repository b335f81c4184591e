"""Modules that load at their first use, without a look through what they are made of meanwhile."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from curate.core.lazy import lazy_module, without_collection


def test_a_module_is_imported_by_its_first_attribute_with_collection_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_one.py").write_text("import gc\n\nCOLLECTS = gc.isenabled()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    late = lazy_module("late_one")
    assert "late_one" not in sys.modules
    assert late.COLLECTS is False
    assert gc.isenabled()
    assert lazy_module("late_one") is sys.modules["late_one"]


def test_collection_goes_on_after_an_error_and_stays_off_where_it_was() -> None:
    with pytest.raises(ImportError), without_collection():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
