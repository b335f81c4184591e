"""A metric of the user's own: loaded by name, called with the texts, and at fault in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.proof.functions import load_function
from tests.conftest import row, turns

ROW = row("e7", turns("2 + 2?", "4"))


def score(folder: Path, body: str, generated: str = "It is 4") -> float:
    (folder / "own.py").write_text(
        f"import math\ndef score(prompt, reference, generated, row):\n    {body}\n"
    )
    return load_function("own.py:score", folder).score("e7", "2 + 2?", generated, ROW)


def test_it_is_called_with_prompt_reference_answer_and_row(tmp_path: Path) -> None:
    body = (
        "assert (prompt, reference, row['row_id']) == ('2 + 2?', '4', 'e7'); "
        "return reference in generated"
    )
    assert score(tmp_path, body) == 1.0
    assert score(tmp_path, body, "It is 5") == 0.0


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("return {}['a']", "KeyError: 'a'"),
        ("return math.nan", "it returned nan; a finite number is needed"),
        ("return math.inf", "it returned inf"),
        ("return '1'", "it returned '1'"),
        ("return None", "it returned None"),
    ],
)
def test_a_fault_names_key_function_file_and_example(tmp_path: Path, body: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        score(tmp_path, body)
    message = str(caught.value)
    assert message.startswith("prove.metric.function: own.py:score (")
    assert str(tmp_path / "own.py") in message and "example e7" in message
    assert fault in message and "\n" not in message


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("none.py:score", "", "there is no file "),
        ("own.py:none", "", "own.py has no function 'none'"),
        ("own.py:score", "score = 1", "own.py has no function 'score'"),
        ("own.py:score", "import nothing_like_it", "own.py cannot be loaded: ModuleNotFoundError"),
        ("own.py:score", "def score(:", "own.py cannot be loaded: SyntaxError"),
        ("nothing_like_it:score", "", "nothing_like_it cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, name: str, source: str, fault: str) -> None:
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(UserError, match=r"^prove\.metric\.function: ") as caught:
        load_function(name, tmp_path)
    assert fault in str(caught.value)


def test_another_source_is_another_digest_and_modules_are_found(tmp_path: Path) -> None:
    digests = []
    for source in ("score = len", "score = max"):
        (tmp_path / "own.py").write_text(source)
        digests.append(load_function("own.py:score", tmp_path).digest)
    assert digests[0] != digests[1]
    assert load_function("json:dumps").file.name == "__init__.py"
