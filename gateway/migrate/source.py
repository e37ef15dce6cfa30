"""A file of LiteLLM's as settings that know where they stand.

LiteLLM reads its file with PyYAML and believes it: merge keys count, and an unquoted `yes` is a flag. Values are read
in that way here. `os.environ/NAME` stands for a variable of the environment, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.config.complaints import Mark, Steps, spell
from gateway.config.fill import MOST_VALUES, NOTHING
from gateway.config.read import DEEPEST
from gateway.config.tree import Entries, Items, Node, Scalar

VARIABLE = "os.environ/"

MERGE = "<<"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]{1,18})([eE][-+]?[0-9]{1,2})?")
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, with the way to it."""

    path: Steps
    mark: Mark
    node: Node

    @property
    def key(self) -> str:
        return str(self.path[-1]) if self.path else ""

    @property
    def spelt(self) -> str:
        """The way to it, as people read it."""
        return spell(self.path)

    @property
    def value(self) -> Any:
        """What PyYAML would make of it, as far as JSON can hold that."""
        return _value(self.node)

    @property
    def text(self) -> str:
        """A single value as text, empty for anything else and for nothing."""
        node = self.node
        return node.text if isinstance(node, Scalar) and not (node.plain and node.text in NOTHING) else ""

    def settings(self) -> list[Setting]:
        """Those of a mapping, in the order of the file; none for anything else."""
        return [
            Setting((*self.path, key.text), value.mark if isinstance(value, Scalar) else key.mark, value)
            for key, value in _merged(self.node)
        ]

    def by_key(self) -> dict[str, Setting]:
        return {setting.key: setting for setting in self.settings()}

    def items(self) -> list[Setting]:
        """Those of a list; none for anything else."""
        nodes = self.node.items if isinstance(self.node, Items) else ()
        return [Setting((*self.path, index), node.mark, node) for index, node in enumerate(nodes)]

    def texts(self) -> list[str]:
        """What a list holds, or a single value as a list of one."""
        return [item.text for item in self.items()] or ([self.text] if self.text else [])


def in_our_spelling(text: str) -> str:
    """A text of LiteLLM's as our configuration would have it. Raises ValueError for what cannot be said there."""
    if text.startswith(VARIABLE):
        name = text.removeprefix(VARIABLE)
        if not _NAME.fullmatch(name):
            raise ValueError("names a variable that is not made of letters, digits and underscores; rename it")
        return f"${{{name}}}"
    if text.startswith("file:"):
        raise ValueError("begins with file:, which would mean the content of a file here")
    return text.replace("${", "$${")


def variables_in(node: Node) -> Iterator[str]:
    """The variables that are named anywhere below."""
    match node:
        case Scalar(_, text, _):
            if text.startswith(VARIABLE):
                yield text.removeprefix(VARIABLE)
        case Items(_, items):
            for item in items:
                yield from variables_in(item)
        case Entries(_, entries):
            for _, value in entries:
                yield from variables_in(value)


def is_too_much(node: Node) -> bool:
    """Whether aliases, which repeat what they stand for, make more of a text than anybody meant."""
    size, depth = _measure(node, {})
    return size > MOST_VALUES or depth > DEEPEST


def _measure(node: Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Values, and levels of nesting. Anchors are met before their aliases, so this goes no deeper than the text."""
    if (found := known.get(id(node))) is not None:
        return found
    below = [_measure(each, known) for each in _children(node)]
    known[id(node)] = 1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0)
    return known[id(node)]


def _children(node: Node) -> list[Node]:
    match node:
        case Items(_, items):
            return list(items)
        case Entries(_, entries):
            return [value for _, value in entries]
    return []


def _merged(node: Node) -> list[tuple[Scalar, Node]]:
    """The entries of a mapping with those that it takes over from others. Its own win, then the first of the others."""
    if not isinstance(node, Entries):
        return []
    found: dict[str, tuple[Scalar, Node]] = {}
    for key, value in node.entries:
        if not _is_merge(key):
            found[key.text] = key, value
    for key, value in node.entries:
        if _is_merge(key):
            for other in value.items if isinstance(value, Items) else [value]:
                for entry in _merged(other):
                    found.setdefault(entry[0].text, entry)
    return list(found.values())


def _is_merge(key: Scalar) -> bool:
    return key.plain and key.text == MERGE


def _value(node: Node) -> Any:
    match node:
        case Items(_, items):
            return [_value(item) for item in items]
        case Entries():
            return {key.text: _value(value) for key, value in _merged(node)}
    if not node.plain:
        return node.text
    if node.text in NOTHING:
        return None
    if node.text.lower() in _FLAGS:
        return _FLAGS[node.text.lower()]
    if _WHOLE.fullmatch(node.text):
        return int(node.text)
    return float(node.text) if _NUMBER.fullmatch(node.text) else node.text
