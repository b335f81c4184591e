"""Prompts: Jinja files that a user can override, never strings in code.

A file holds the turns of a request, each under a line that names its role:

    === system
    You write exercises.
    === user
    Write one like these:
    {% for example in examples %}- {{ example }}
    {% endfor %}

Roles are told apart before anything is filled in, so no text of a pool can open a turn of its own. Nor
can it close the lines of three quotes that a prompt puts around it: they get longer than any in it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jinja2
import regex
from jinja2.sandbox import ImmutableSandboxedEnvironment

from curate.core.errors import UserError
from curate.core.localfiles import MIB, changed, read_text
from curate.core.rows import ROLES, Message
from curate.core.store import Artifact

BUILT_IN = Path(__file__).parent / "templates"
HEAD = regex.compile(r"^=== (\w+)[ \t]*$\n?", regex.M)
FENCE = regex.compile(r'^"""$', regex.M)
QUOTES = regex.compile(r'^\s*("{3,})\s*$', regex.M)
FENCING_VERSION = 1
SLOT = regex.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", regex.S)


class Prompt:
    """One prompt file: turns with slots."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = read_text(path, "the prompt", most=MIB)

    @cached_property
    def digest(self) -> str:
        """Return a digest of the file, which belongs into the key of what is made with it."""
        text = f"{self.text}\n{FENCING_VERSION}" if FENCE.search(self.text) else self.text
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @cached_property
    def turns(self) -> list[tuple[str, jinja2.Template]]:
        """Return roles and their templates.

        Raises:
            UserError: the file names no role, an unknown one, or is no Jinja.
        """
        head, *parts = HEAD.split(self.text)
        roles, texts = parts[::2], parts[1::2]
        if head.strip() or not roles:
            raise UserError(f"{self.path}:1: a prompt starts with a line such as '=== user'")
        for role in roles:
            if role not in ROLES:
                raise UserError(f"{self.path}: unknown role {role!r}; known: {', '.join(ROLES)}")
        try:
            return [
                (role, _template(FENCE.sub("{{ fence }}", text.strip("\n"))))
                for role, text in zip(roles, texts, strict=True)
            ]
        except jinja2.TemplateSyntaxError as error:
            raise UserError(
                f"{self.path}: {error.message}, {error.lineno} lines into a turn"
            ) from error

    def fill(self, **slots: Any) -> list[Message]:
        """Return the turns with the slots filled in; what is filled in is never read as a template.

        Raises:
            UserError: the file asks for a slot that the method does not fill.
        """
        try:
            inner = [template.render(**slots, fence="") for _, template in self.turns]
            longest = max((len(q) for text in inner for q in QUOTES.findall(text)), default=2)
            return [
                {
                    "role": role,
                    "content": template.render(**slots, fence='"' * (longest + 1)).strip(),
                }
                for role, template in self.turns
            ]
        except jinja2.UndefinedError as error:
            slot_names = ", ".join(sorted(slots))
            raise UserError(f"{self.path}: {error.message}; there are: {slot_names}") from error

    @property
    def fixed_text(self) -> str:
        """Return what stands in the file outside of slots: what no answer should repeat."""
        return str(SLOT.sub("\n", HEAD.sub("\n", self.text)))


class MethodPrompts:
    """The prompts of a method: those of a user's folder before the built-in ones.

    Of those that have a digest in `digests`, the files must still have it.
    """

    def __init__(
        self,
        method: str,
        folder: Path | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.method, self.folder = method, folder
        self._digests = digests or {}
        self._folders = [f / method for f in (folder, BUILT_IN) if f is not None]
        if folder is not None and not folder.is_dir():
            raise UserError(f"prompts: {folder} is no folder; give one with {method}/NAME.j2")
        self._read: dict[str, Prompt] = {}

    def __getitem__(self, name: str) -> Prompt:
        """Return the prompt NAME.j2 of the method."""
        if name not in self._read:
            paths = [folder / f"{name}.j2" for folder in self._folders]
            prompt = Prompt(next((p for p in paths if p.is_file()), paths[-1]))
            if self._digests.get(name, prompt.digest) != prompt.digest:
                raise changed(prompt.path)
            self._read[name] = prompt
        return self._read[name]

    def names(self) -> list[str]:
        """Return the names of the built-in prompts of the method."""
        return sorted(path.stem for path in (BUILT_IN / self.method).glob("*.j2"))

    def digests(self) -> Mapping[str, str]:
        """Return the digest of every prompt of the method, the user's where there is one."""
        return {name: self[name].digest for name in self.names()}

    def files(self, *names: str) -> "PromptFiles":
        """Return the files of some prompts, or of all, as an argument of a cached call."""
        digests = {name: self[name].digest for name in names or self.names()}
        return PromptFiles(self.method, self.folder, digests)


@dataclass(frozen=True)
class PromptFiles:
    """The prompts of a method that a cached call fills, identified by the digests of their files."""

    method: str
    folder: Path | None
    identity: Mapping[str, str]
    reads: tuple[Artifact, ...] = ()

    def open(self) -> MethodPrompts:
        """Return the prompts; a file that has changed since then is an error."""
        return MethodPrompts(self.method, self.folder, self.identity)


@cache
def _template(text: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=False,
    )
    return environment.from_string(text)
