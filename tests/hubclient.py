"""The hub's own libraries in this process, sent to a server of tests with a home of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import pytest
from huggingface_hub import HfFileSystem, constants


@contextmanager
def hub_client(url: str, home: Path, *, token: str = "", offline: bool = False) -> Iterator[None]:
    """Let these libraries be as HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE would make them."""
    files = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": files,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(constants, name, value)
        patch.setattr(datasets.config, "HF_ENDPOINT", url)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
        patch.setenv("HF_TOKEN", token)
        # It keeps what it listed, whoever asks.
        HfFileSystem.clear_instance_cache()
        yield
        HfFileSystem.clear_instance_cache()
