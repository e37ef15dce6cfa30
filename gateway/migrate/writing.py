"""Our configuration as text: what fits stands on one line, comments stand above what they speak of.

The same content is always the same text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.config.complaints import Steps
from gateway.migrate.report import on_one_line

WIDTH = 120

ALWAYS_OPEN = ("providers", "models")
"""Sections that have a line for each entry, however short they are."""

Comments = Mapping[Steps, list[str]]
"""What is to stand above the value at a path."""

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|\d+(\.\d+)?(ms|s|h|d|MiB)")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "null", "y", "n"])
"""What is a flag, or nothing, to some reader of YAML."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def written(content: Mapping[str, Any], comments: Comments) -> str:
    """The text of a configuration."""
    return "".join(f"{line}\n" for line in _block(content, comments, (), 0))


def comment(text: str, indent: int = 0) -> list[str]:
    """One remark, in as many lines as it takes."""
    return textwrap.wrap(
        on_one_line(text),
        WIDTH,
        initial_indent=" " * indent + "# ",
        subsequent_indent=" " * indent + "#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _block(content: Mapping[str, Any], comments: Comments, path: Steps, indent: int) -> Iterator[str]:
    for key, value in content.items():
        here = (*path, key)
        for remark in comments.get(here, ()):
            yield from comment(remark, indent)
        yield from _entry(f"{' ' * indent}{quoted(key)}:", value, comments, here, indent + 2)


def _entry(start: str, value: Any, comments: Comments, path: Steps, indent: int) -> Iterator[str]:
    line = f"{start} {_flow(value)}"
    is_open = path[0] in ALWAYS_OPEN and len(path) == 1
    if not isinstance(value, dict | list) or not value or (len(line) <= WIDTH and not is_open):
        yield line
    elif isinstance(value, dict):
        yield start
        yield from _block(value, comments, path, indent)
    else:
        yield start
        for item in value:
            yield from _item(item, comments, path, indent)


def _item(item: Any, comments: Comments, path: Steps, indent: int) -> Iterator[str]:
    line = f"{' ' * indent}- {_flow(item)}"
    if len(line) <= WIDTH or not isinstance(item, dict) or not item:
        yield line
        return
    first, *rest = _block(item, comments, (*path, 0), indent + 2)
    yield f"{' ' * indent}- {first.lstrip()}"
    yield from rest


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(key)}: {_flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A text so that it is read as that text."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(_escaped(text))}"'


def _escaped(text: str) -> Iterable[str]:
    for character in text:
        if character in _ESCAPES:
            yield _ESCAPES[character]
        elif character.isprintable():
            yield character
        else:
            yield f"\\U{ord(character):08x}"
