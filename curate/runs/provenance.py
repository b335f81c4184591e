"""Provenance of a run: when it was made, by which command, on what, and with which models."""

import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate.config.recipe import Config
from curate.core.threads import usable_cores


class Provenance:
    """When and how a run was started. None of it enters a key, so results do not depend on it."""

    def __init__(self, command: str | None) -> None:
        self._command = command
        self._started = _now()

    def end(self) -> dict[str, Any]:
        """Return date and time (UTC) of start and end, the command, and what machine it was."""
        return {
            "started": self._started,
            "ended": _now(),
            "command": self._command,
            "platform": f"{sys.platform} {platform.machine()}",
            "processor": _processor(),
            "cores": usable_cores(),
        }


def _processor() -> str:
    """Return what the processor is called, "" where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def model_names(config: Config) -> dict[str, str]:
    """Return the models that a recipe names, by the key that names each (base, select.embedder ...)."""
    names = {"base": config.models.base, "embedder": config.models.embedder}
    return names | dict(_inner_names(config.model_dump(mode="json", exclude={"models"}), ""))


def _inner_names(value: Any, key: str) -> list[tuple[str, str]]:
    """Return the values of keys that name models anywhere inside a recipe's part."""
    if isinstance(value, dict):
        inner = [(f"{key}.{name}" if key else name, part) for name, part in value.items()]
    elif isinstance(value, list):
        inner = [(f"{key}.{i}", part) for i, part in enumerate(value)]
    else:
        names_model = key.rsplit(".", 1)[-1] in ("model", "embedder", "checkpoint", "adapter")
        return [(key, value)] if names_model and isinstance(value, str) else []
    return [pair for name, part in inner for pair in _inner_names(part, name)]
