"""Secrets that stand in a recipe, where they would be copied into manifest, report and logs.

    engine: {..., extra: {api_key: abc}}                 a name that secrets have
    engine: {..., extra: {header: "Bearer abc"}}         a value of a form that keys have
    pool: [{path: "s3://KEY:SECRET@bucket/rows/"}]       a password in an address
    pool: [{path: "https://h/rows.jsonl?sig=abc"}]       a signed address

They are refused, never hidden: a recipe that needs one names the variable that holds it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, JsonValue

from curate.core.jsontypes import JSON
from curate.core.keyforms import is_key

Location = tuple[str | int, ...]
_NAME = re.compile(
    r"(^|[_.-])(api_?keys?|(access|secret|private|account|subscription|signing)_?keys?|authorization|"
    r"bearer|cookies?|credentials?|pass(word|wd|phrase)|pwd|secrets?)([_.-]|$)|^tokens?$|"
    r"(^|[_.-])(access|api|auth|bearer|github|gitlab|hf|refresh|secret|security|session)_?token$"
)
_OPENING = (
    r"(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|ghu|github_pat|glpat|nvapi|pplx|tgp|xai|xox[abeprs]|r8|npm|pypi)"
    r"[-_]|AKIA|ASIA|AIza|ya29\.|eyJ"
)
# In free fields, whose values are words and numbers, the opening of a key is enough.
_KEY = re.compile(rf"(?<![\w-])({_OPENING})[\w.+/=-]{{4,}}")
_LONG_KEY = re.compile(rf"({_OPENING})(?=\S*\d)[\w.+/=-]{{16,}}")
_SCHEME = re.compile(r"\s*(bearer|basic|token)\s+\S+\s*", re.IGNORECASE)
_PRIVATE = "PRIVATE KEY-----"
_PASSWORD = re.compile(r"//[^/\s@]*:[^/\s@]+@")
_SIGNED = re.compile(
    r"[?&;]([\w-]*(signature|credential|security-token|password|secret|token)|sig|auth|"
    r"(api|access|account)?[_-]?key)=[^&\s]",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
STANDS = "which would stand in manifest, report and logs"
IN_FIELDS = (
    f"this looks like a secret, {STANDS}; take it out, and give keys by environment variables alone "
    "(api_key_env of an endpoint names one)"
)
IN_ADDRESS = (
    f"the address holds a secret, {STANDS}; give credentials by the environment or the storage's own "
    "file of credentials, or download the file"
)


class SecretFault(ValueError):
    """A secret stands in a recipe; what it is must not be repeated."""


def find_secret(value: Any) -> tuple[Location, str] | None:
    """Return where a secret stands in a recipe, and what to say of it; None if there is none."""
    for place, text in leaves(value):
        if not isinstance(text, str):
            continue
        if "//" in text and (_PASSWORD.search(text) or _SIGNED.search(text)):
            return place, IN_ADDRESS
        if _LONG_KEY.fullmatch(text.strip()) or is_key(text.strip()) or _PRIVATE in text:
            return place, IN_FIELDS
    return None


def find_secret_field(fields: Mapping[str, JSON]) -> Location | None:
    """Return where a secret stands among free fields, by its name or its form; None if none does."""
    for place, value in leaves(fields):
        named = any(_names_secret(part) for part in place if isinstance(part, str))
        if named and value not in (None, "") and not isinstance(value, bool):
            return place
        if isinstance(value, str) and (_KEY.search(value) or _SCHEME.fullmatch(value)):
            return place
    secret = find_secret(fields)
    return None if secret is None else secret[0]


def _names_secret(name: str) -> bool:
    plain = _WORDS.sub("_", name).lower().replace("-", "_")
    return bool(_NAME.search(plain)) and not plain.endswith("_env")


def leaves(value: Any, place: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Yield every plain value of nested mappings and lists, with its keys and positions."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, (*place, name))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*place, number))
    else:
        yield place, value


def _refuse_secrets(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    place = find_secret_field(fields)
    if place is not None:
        raise SecretFault(f"{'.'.join(map(str, place))}: {IN_FIELDS}")
    return fields


FreeFields = Annotated[dict[str, JsonValue], AfterValidator(_refuse_secrets)]
