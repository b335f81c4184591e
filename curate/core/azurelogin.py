"""Logins of Azure: whether there is one, before the driver looks for it at every request.

Without keys the driver asks all kinds of logins for a token, and repeats that for minutes.
"""

import logging
from functools import lru_cache
from typing import Any

# What a token is asked for, and who says at length how it was looked for.
SCOPE, LOGGER = "https://storage.azure.com/.default", "azure.identity"


def check_login(filesystem: Any) -> None:
    """Ask once for a token, where a file system of fsspec is one of Azure without keys.

    Raises:
        PermissionError: no login gives one.
    """
    credential = getattr(filesystem, "sync_credential", None)
    if credential is not None:
        _ask_token(credential)


@lru_cache
def _ask_token(credential: Any) -> None:
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        credential.get_token(SCOPE)
    except Exception as error:
        raise PermissionError("no key is set, and no login of Azure gave a token") from error
    finally:
        logger.setLevel(level)
