import pytest

from curate.runs.public_paths import public_path, with_public_paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/ann/data/pool.jsonl", "pool.jsonl"),
        ("file:///home/ann/pool.jsonl", "pool.jsonl"),
        ("/home/ann/dumps/*.gz", "dumps/*.gz"),
        ("/home/ann/**/x/*.gz", "ann/**/x/*.gz"),
        ("/pool.jsonl", "pool.jsonl"),
        ("data/pool.jsonl", "data/pool.jsonl"),
        ("owner/name", "owner/name"),
        ("s3://bucket/a/b.jsonl", "s3://bucket/a/b.jsonl"),
        ("</s>", "</s>"),
        ("/", "/"),
    ],
)
def test_folders_of_a_machine_are_left_out(path: str, expected: str) -> None:
    assert public_path(path) == expected


def test_all_texts_of_a_recipe_are_looked_at() -> None:
    settings = {"pool": [{"path": "/a/b.jsonl", "sample": 3}], "models": {"base": "/m/tiny"}}
    assert with_public_paths(settings) == {
        "pool": [{"path": "b.jsonl", "sample": 3}],
        "models": {"base": "tiny"},
    }
