"""A cache of the Hugging Face Hub with data sets in it, laid out as huggingface_hub does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def cache_dataset(
    hub_cache: Path, repo: str, files: Mapping[str, bytes], commit: str, *, ref: str = "main"
) -> Path:
    """Put files of a data set into a cache, and let a branch or tag point to their commit.

    datasets--owner--name/blobs/DIGEST
    datasets--owner--name/snapshots/COMMIT/data/train.jsonl -> ../../../blobs/DIGEST
    datasets--owner--name/refs/main
    """
    folder = hub_cache / f"datasets--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for name, data in files.items():
        blob = folder / "blobs" / hashlib.sha256(data).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    branch = folder / "refs" / ref
    branch.parent.mkdir(parents=True, exist_ok=True)
    branch.write_text(commit)
    return snapshot
