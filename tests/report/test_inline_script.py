from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess

import pytest

from curate.report.build import TEMPLATES
from curate.report.inline_script import FILES, InlineScript, read_script


def test_the_digest_is_that_of_the_code_alone() -> None:
    script = InlineScript("let one = 1\n")
    digest = base64.b64encode(hashlib.sha256(b"let one = 1\n").digest()).decode()
    assert script.digest == f"sha256-{digest}"


def test_nothing_in_the_code_ends_its_element_or_makes_markup_of_texts() -> None:
    code = read_script(TEMPLATES).code
    assert "</" not in code and "<!--" not in code and "<script" not in code
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in code


@pytest.mark.system
@pytest.mark.parametrize("name", FILES)
def test_the_code_is_sound(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node is installed")
    subprocess.run([node, "--check", TEMPLATES / name], check=True)
