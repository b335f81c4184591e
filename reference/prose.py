"""Docstrings as Markdown: paragraphs, indented blocks as they are, sources as links.

see `rank`; arXiv:2503.01807  becomes  see `rank`; [arXiv:2503.01807](https://arxiv.org/abs/2503.01807)
"""

import inspect
import re
import textwrap

CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
BLOCK = re.compile(r"    |\w+:\n  - ")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def prose(docstring: str) -> str:
    """Return a docstring as Markdown. Paragraphs of YAML, or indented as a whole, are blocks of text."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(_block(p) if BLOCK.match(p) else escaped(p) for p in paragraphs)


def _block(paragraph: str) -> str:
    return f"```text\n{textwrap.dedent(paragraph)}\n```"


def escaped(text: str) -> str:
    """Return text in which nothing is markup but code between backticks, and sources are links."""
    parts = CODE.split(text)
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    signs = re.sub(r"([\\*_\[\]])", r"\\\1", text).replace("<", "&lt;").replace("|", "&#124;")
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", signs)
