"""The type of JSON values: schemas, replies of a server, identities, settings as a recipe has them."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"
