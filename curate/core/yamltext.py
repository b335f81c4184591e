"""YAML that a user gives, read within limits.

Plain values only, at most so deep and so many: aliases are followed, but what they repeat is counted
each time, and an anchor that holds itself is refused. So a text of some lines cannot become a structure
that takes hours or all memory ("billion laughs").
"""

from typing import Any

import yaml

from curate.core.errors import UserError

MOST_CHARS = 2**20
MOST_VALUES = 20_000
DEEPEST = 64
LONGEST_NUMBER = 100
EXCERPT_CHARS = 80
BOOLEAN, TEXT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
REFUSED_TAGS = ("binary", "set", "omap", "pairs")


class YamlFault(Exception):
    """A text that is no YAML, or more of it than is read: the line and what is wrong there."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


def load_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Return the value of a YAML text, and its node, which knows the lines.

    Raises:
        YamlFault: it is broken, or goes beyond the limits.
    """
    if len(text) > MOST_CHARS:
        raise YamlFault(1, f"more than {MOST_CHARS:,} characters")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, None
            _count(node, {}, set())
            return loader.construct_document(node), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(mark.line + 1 if mark else 1, str(error.problem)) from error
    except yaml.YAMLError as error:
        # A control character.
        raise YamlFault(1, str(error).splitlines()[0]) from error


def load_setting(setting: str, value: str) -> Any:
    """Return the value that `--set key=value` gives.

    Raises:
        UserError: it is no YAML, or goes beyond the limits.
    """
    try:
        return load_yaml(value)[0]
    except YamlFault as error:
        raise UserError(
            f"--set {setting[:EXCERPT_CHARS]}: the value is not valid YAML ({error.problem})"
        ) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's own loader of plain values, which counts nodes and levels."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._levels = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, unless there are too many or it lies too deep."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._nodes += 1
        self._levels += 1
        if self._levels > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {DEEPEST} deep", problem_mark=mark
            )
        if self._nodes > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=_too_many(), problem_mark=mark)
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping, whose keys are names: `on` is one, and not a way to write true."""
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if key.tag == BOOLEAN:
                key.tag = TEXT
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make a value of a node; what its tag does not fit (`!!int x`, 2024-99-99) is a fault."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            kind = node.tag.rpartition(":")[2]
            text = node.value if isinstance(node.value, str) else "this"
            raise yaml.MarkedYAMLError(
                problem=f"{text!r:.{EXCERPT_CHARS}} is no {kind}", problem_mark=node.start_mark
            ) from error


def _refuse(loader: _Loader, node: yaml.Node) -> None:
    kind = node.tag.rpartition(":")[2]
    raise yaml.MarkedYAMLError(
        problem=f"the tag !!{kind} is not read", problem_mark=node.start_mark
    )


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    # Python takes quadratic time for the digits of a number, and refuses to write out a long one.
    if len(node.value) > LONGEST_NUMBER:
        raise yaml.MarkedYAMLError(
            problem=f"a number of more than {LONGEST_NUMBER} digits", problem_mark=node.start_mark
        )
    whole = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)


for _tag in REFUSED_TAGS:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refuse)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def _count(node: yaml.Node, counts: dict[int, int], within: set[int]) -> int:
    """Return how many values a node is once its aliases are written out.

    Raises:
        YamlFault: they are too many, or the node is within itself.
    """
    line, key = node.start_mark.line + 1, id(node)
    if key in within:
        raise YamlFault(line, "an anchor holds itself")
    if key not in counts:
        within.add(key)
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = isinstance(node, yaml.MappingNode)
        parts = [part for pair in inner for part in pair] if pairs else inner
        counts[key] = 1 + sum(_count(part, counts, within) for part in parts)
        within.remove(key)
    if counts[key] > MOST_VALUES:
        raise YamlFault(line, _too_many())
    return counts[key]


def _too_many() -> str:
    return f"more than {MOST_VALUES:,} values, those that aliases repeat included"
