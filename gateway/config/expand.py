"""`${VAR}`, `${VAR:-default}` and `file:/path` in values.

Replaced once, after parsing, so what a variable holds can neither change the structure of the file nor be replaced
again. As in a shell, the default stands in for a variable that is unset or empty. `$${` is a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST_FILE = 64 * 1024
"""Bytes. Far above any credential; keeps a wrong path, such as that of a device, from filling the memory."""

_REFERENCE = re.compile(r"(\$)\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")


@dataclass(frozen=True, slots=True)
class Expanded:
    text: str
    typed: bool = True
    """Whether all of it stood in the configuration itself."""
    variables: tuple[str, ...] = ()
    """The variables it names."""


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """The value that was meant. Raises ValueError with a whole sentence."""
    filled = _fill_in(text, environ) if "${" in text else Expanded(text)
    if text.startswith("file:"):
        return Expanded(_content(text, filled.text.removeprefix("file:")), False, filled.variables)
    return filled


def _fill_in(text: str, environ: Mapping[str, str]) -> Expanded:
    pieces, names, unset, at, typed = [], [], [], 0, True
    for found in _REFERENCE.finditer(text):
        escape, name, default = found.groups()
        pieces.append(text[at : found.start()])
        at = found.end()
        if escape:
            pieces.append("${")
            continue
        if name is None:
            raise ValueError("a ${ that names no variable; write ${NAME}, ${NAME:-default}, or $${ for a plain ${")
        names.append(name)
        value = environ.get(name)
        typed = typed and not value
        if value is None and default is None:
            unset.append(name)
        pieces.append(value or default or "")
    if unset:
        raise ValueError(f"{environment_variables(unset)} not set")
    return Expanded("".join(pieces) + text[at:], typed, tuple(names))


def environment_variables(names: Iterable[str]) -> str:
    """`the environment variable X is`, to go on with what is wrong with it."""
    *others, last = dict.fromkeys(names)
    if others:
        return f"the environment variables {', '.join(others)} and {last} are"
    return f"the environment variable {last} is"


def _content(written: str, path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("file: wants an absolute path, such as file:/run/secrets/name")
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"{written} is larger than {LARGEST_FILE} bytes")
        return content.decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {written}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {written}: it is not UTF-8 text") from None
