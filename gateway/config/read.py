"""YAML text to what it says, with every complaint about how it is written. The only importer of yaml.

Scalars are kept as text: what `no`, `1e3` or `010` means depends on the field they stand in, which `config.fill`
knows. Refused, with a hint: a key written twice, merge keys, tags, several documents. The tree is built from events,
because libyaml composes it by recursion: 200,000 opening brackets would end the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import yaml

from gateway.config.complaints import ConfigError, Mark, Review, Steps
from gateway.config.fill import Filler
from gateway.config.tree import Entries, Items, Node, Scalar

__all__ = ["ConfigError", "parse", "read", "read_rows"]

Record = TypeVar("Record")

DEEPEST = 50
"""Levels of nesting. The grammar needs six; request defaults, such as a JSON schema, some more."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2, 5.1: the characters that a text may hold; and the byte order mark, which has no business inside one.
_UNREADABLE = re.compile("\ufeff|[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read(shape: type[Record], text: str, review: Review, environ: Mapping[str, str]) -> Record:
    """What a text says, as far as it can be read; what cannot is noted in the review.

    A field that could not be read has its default, or is empty. Raises ConfigError for a text without any structure.
    """
    return Filler(review, environ).record(shape, _entries(text, review))


def read_rows(shape: type[Record], text: str, review: Review) -> dict[str, Record]:
    """A text that is a mapping from names to records, read in the same way. It knows no variables."""
    filler = Filler(review, {})
    return {name.text: filler.record(shape, row, (name.text,)) for name, row in _entries(text, review).entries}


def _entries(text: str, review: Review) -> Entries:
    node = parse(text, review)
    if not isinstance(node, Entries):
        _give_up(review, Mark(1, 1), "holds nothing" if node is None else "must be a mapping, such as `providers: ...`")
    return node


def parse(text: str, review: Review, *, merges: bool = False) -> Node | None:
    """The tree of a document, or None for an empty one. Raises ConfigError for what is not YAML.

    With `merges`, merge keys are entries like any other, for whoever knows what to do with them.
    """
    text = text.removeprefix("\ufeff")
    if found := _UNREADABLE.search(text):
        mark = Mark(text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start()))
        _give_up(review, mark, f"a character that cannot be seen (U+{ord(found[0]):04X}); remove it")
    try:
        return _Tree(yaml.parse(text, Loader=_Loader), review, merges).document()
    except yaml.MarkedYAMLError as error:
        _give_up(review, *_in_plain_words(text, error))


class _Tree:
    """Builds nodes from events, which come in the order of the text."""

    def __init__(self, events: Iterator[yaml.Event], review: Review, merges: bool) -> None:
        self._events = events
        self._review = review
        self._merges = merges
        self._anchors: dict[str, Node] = {}
        self._depth = 0

    def document(self) -> Node | None:
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        node = self._node(next(self._events), ())
        next(self._events)  # the end of the document
        if not isinstance(after := next(self._events), yaml.StreamEndEvent):
            _give_up(self._review, _mark(after), "a second document begins here; a configuration is a single one")
        return node

    def _node(self, event: Any, path: Steps) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._known(event)
        if event.tag is not None:
            self._review.complain(path, TAG, _mark(event))
        self._depth += 1
        if self._depth > DEEPEST:
            _give_up(self._review, _mark(event), f"nested more than {DEEPEST} levels deep")
        node = self._content(event, path)
        self._depth -= 1
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: Any, path: Steps) -> Node:
        match event:
            case yaml.ScalarEvent():
                return Scalar(_mark(event), event.value, bool(event.implicit[0]))
            case yaml.SequenceStartEvent():
                return Items(_mark(event), tuple(self._items(path)))
            case _:
                return Entries(_mark(event), tuple(self._entries(path)))

    def _items(self, path: Steps) -> Iterator[Node]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, (*path, index))
            index += 1

    def _entries(self, path: Steps) -> Iterator[tuple[Scalar, Node]]:
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, path)
            name = key.text if isinstance(key, Scalar) else ""
            value = self._node(next(self._events), (*path, name))
            if fault := _fault_of_key(key, lines, self._merges):
                self._review.complain((*path, name) if name else path, fault, _mark(event))
            elif isinstance(key, Scalar):
                lines[name] = key.mark.line
                yield key, value

    def _known(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        return node if node is not None else _give_up(self._review, _mark(event), NO_ANCHOR)


def _fault_of_key(key: Node, lines: Mapping[str, int], merges: bool) -> str | None:
    if not isinstance(key, Scalar):
        return "a list or a mapping cannot be a key; quote it if it is text"
    if key.text in lines:
        return f"is written twice; it is on line {lines[key.text]} already"
    if key.plain and key.text == "<<" and not merges:
        return "merge keys are not read; write the fields out, or put them into defaults"
    if "${" in key.text:
        return "variables are not replaced in keys"
    return None if key.text else "a key is empty"


NO_ANCHOR = "an alias of nothing above; quote it if it is text that begins with *"
TAG = "tags (words that begin with !) are not read; quote it if it is text"
TAB = "a tab; indent with spaces"
UNQUOTED = 'within {...} and [...] a variable needs quotes: "${NAME}"'

SYNTAX = (
    ("expected ',' or ']'", "goes wrong here: a comma, a quote or the closing ] is missing"),
    ("expected ',' or '}'", "goes wrong here: a comma, a quote or the closing } is missing"),
    ("expected ':'", "the colon after this key is missing"),
    ("expected '-'", "the list must go on with a dash here; check the indentation"),
    ("expected key", "a key must stand here; check the indentation, the quotes and the brackets"),
    ("block end", "a key must stand here; check the indentation, the quotes and the brackets"),
    ("mapping values", "a colon where no key can be; check the line before and the indentation, or quote the value"),
    ("sequence entries", "a dash where no list can begin; put it on a line of its own, or quote it"),
    ("cannot start any token", "a character that cannot begin a value; put the value in quotes"),
    ("end of stream", "the closing quote is missing"),
    ("node content", "a value must stand here; quote it if it begins with a sign"),
    ("escape", "an escape that does not exist; use single quotes, or write \\\\ for a backslash"),
    ("document start", "text that belongs to nothing; check the line before"),
    ("alphabetic or numeric", "an alias (*) or an anchor (&) without a name; quote it if it is text"),
    ("tag", TAG),
)
"""What libyaml and PyYAML say, and what to do about it. Their own words are kept back: they may quote a value."""


def _in_plain_words(text: str, error: yaml.MarkedYAMLError) -> tuple[Mark, str]:
    problem = str(error.problem).replace("<", "").replace(">", "")
    begun = error.context_mark
    # What was never closed is noticed only at the end of the text.
    late = "end of stream" in problem or "expected ':'" in problem
    mark = (begun if late else None) or error.problem_mark
    assert mark is not None
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t" or "tab character" in problem:
        return Mark(mark.line + 1, mark.column + 1), TAB
    if (column := _unquoted_variable(line)) is not None:
        return Mark(mark.line + 1, column + 1), UNQUOTED
    words = next((words for part, words in SYNTAX if part in problem), "this is not YAML")
    if words.startswith("goes wrong") and begun:
        words = f"what opens on line {begun.line + 1} {words}"
    return Mark(mark.line + 1, mark.column + 1), words


def _unquoted_variable(line: str) -> int | None:
    """Where a variable stands within brackets and without quotes, counted from 0."""
    for found in re.finditer(r"\$\{", line):
        before = line[: found.start()]
        if re.search(r"(?<!\$)[\[{]", before) and before.count('"') % 2 == before.count("'") % 2 == 0:
            return found.start()
    return None


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _give_up(review: Review, mark: Mark, message: str) -> NoReturn:
    review.complain((), message, mark)
    review.finish()
    raise AssertionError("a review with a complaint does not finish")
