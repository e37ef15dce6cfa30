"""Writes the tables of docs/configuration.md: every field, from the records that read the file.

Types come from the annotations, defaults from the records and from what they resolve to, meanings from the words under
each field, and examples from the configuration that the document shows, which the tests load.

python -m tests.config_reference
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import yaml

from gateway.config import values
from gateway.config.resolve import loads
from gateway.config.schema import json_schema
from gateway.config.spec import BreakerSpec, Json, RetriesSpec, Spec, TimeoutsSpec
from tests.sdk.provider_table import written

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"

KINDS: Mapping[Any, str] = {
    values.Text: "text",
    values.Word: "word",
    values.Name: "name",
    values.Pattern: "pattern",
    values.Region: "region",
    values.HeaderName: "header",
    values.Address: "address",
    values.Credential: "secret",
    values.Proxy: "address",
    values.Redis: "address",
    values.Database: "address",
    values.EncryptionKey: "secret",
    values.Digest: "SHA-256",
    values.Flag: "true or false",
    values.Duration: "duration",
    values.Wait: "duration",
    values.Retention: "duration",
    values.Size: "size",
    values.Count: "count",
    values.Rate: "count",
    values.Weight: "number",
    values.Port: "0 to 65535",
    values.Attempts: "1 to 10",
    values.Failures: "1 to 1000",
    values.Share: "share",
    values.SmallShare: "share, at most 50%",
    values.Dollars: "dollars",
    values.Money: "dollars",
    values.Moment: "time",
    Json: "anything",
}
"""What each kind of value is called. The document says above its tables how they are written."""

LONG = 8
"""Choices of a field that the meaning of it tells better than a cell does."""

ITEM, ENTRY = "[]", ".NAME"
"""In a path: each of a list; each of a mapping whose names are one's own."""


class Part(NamedTuple):
    """One mapping of the file."""

    kind: type
    paths: tuple[str, ...]
    """Everywhere it can stand."""


def parts() -> list[Part]:
    """All of them, in the order of the file."""
    found: dict[type, list[str]] = {}
    for kind, path in _below(Spec, ""):
        found.setdefault(kind, []).append(path)
    return [Part(kind, tuple(paths)) for kind, paths in found.items()]


def tables(example: str) -> str:
    """What stands between the two markers. Values for the column of examples come from a configuration."""
    shown = _shown(example)
    return "\n".join(line for part in parts() for line in _section(part, shown)).rstrip()


def example(document: str) -> str:
    """The configuration that shows every field: the first in the document."""
    found = re.search(r"^```yaml\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def undocumented(document: str) -> list[str]:
    """Fields that the example does not show."""
    mentioned = {path for full in _shown(example(document)) for path in _above(full)}
    return [
        f"{part.paths[0]}.{field.name}".strip(".")
        for part in parts()
        for field in fields(part.kind)
        if not any(_joined(path, field.name) in mentioned for path in part.paths)
    ]


def _below(kind: type, path: str) -> Iterator[tuple[type, str]]:
    yield kind, path
    for name, shape in get_type_hints(kind, include_extras=True).items():
        for inner, suffix in _records(shape):
            yield from _below(inner, _joined(path, name) + suffix)


def _records(shape: Any, suffix: str = "") -> Iterator[tuple[type, str]]:
    """The mappings that may stand in a field, with what their path has behind the field's name."""
    if isinstance(shape, type) and is_dataclass(shape):
        yield shape, suffix
    elif get_origin(shape) in (list, dict):
        yield from _records(get_args(shape)[-1], suffix + (ITEM if get_origin(shape) is list else ENTRY))
    elif get_origin(shape) not in (Literal, None) and shape not in KINDS:
        for each in get_args(shape):
            yield from _records(each, suffix)


def _section(part: Part, shown: Mapping[str, str]) -> Iterator[str]:
    heading = ", ".join(f"`{path}`" for path in part.paths if path) or "The file"
    yield f"### {heading}\n"
    yield f"{(part.kind.__doc__ or '').strip()}\n"
    yield "| field | what it is | default | example | |"
    yield "| --- | --- | --- | --- | --- |"
    described = _descriptions(part.kind)
    shapes = get_type_hints(part.kind, include_extras=True)
    for field in fields(part.kind):
        inside = [kind for kind, _ in _records(shapes[field.name])]
        meaning = described.get(field.name) or (inside[0].__doc__ or "")
        cells = (
            f"`{field.name}`",
            _type(shapes[field.name]),
            _default(part.kind, field, shapes[field.name]),
            _example(part, field.name, shown),
            meaning.replace("|", r"\|"),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _descriptions(kind: type) -> dict[str, str]:
    schema = json_schema()
    of_kind = schema if kind is Spec else schema["$defs"][kind.__name__]
    return {name: field.get("description", "") for name, field in of_kind["properties"].items()}


def _type(shape: Any) -> str:
    """In words."""
    if shape in KINDS:
        return KINDS[shape]
    if isinstance(shape, type) and is_dataclass(shape):
        return "[mapping](#" + _anchor(shape) + ")"
    if get_origin(shape) is Literal:
        return _choices(get_args(shape))
    if get_origin(shape) is list:
        return f"list of {_type(get_args(shape)[0])}"
    if get_origin(shape) is dict:
        return f"by name, {_type(get_args(shape)[1])}"
    return " or ".join(dict.fromkeys(_type(each) for each in get_args(shape) if each is not NoneType))


def _choices(choices: Iterable[str]) -> str:
    several = tuple(choices)
    return "one of several" if len(several) > LONG else ", ".join(f"`{each}`" for each in several)


def _anchor(kind: type) -> str:
    """As GitHub makes one of a heading."""
    (part,) = (part for part in parts() if part.kind is kind)
    heading = ", ".join(path for path in part.paths if path)
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _default(kind: type, field: Field[Any], shape: Any) -> str:
    """What holds where nothing is written; empty where that is nothing."""
    if field.default is MISSING and field.default_factory is MISSING:
        return "*required*"
    value = _final(kind, field.name, field.default)
    if value is None or value is MISSING or is_dataclass(value):
        return ""
    return f"`{_spelt(value, _type(shape))}`"


def _final(kind: type, name: str, default: Any) -> Any:
    """The default that a model has in the end, where a record leaves it to others."""
    model = loads("providers: {echo: {type: echo, models: [m]}}", name="", environ={}).models["m"]
    in_force: Mapping[type, Any] = {
        TimeoutsSpec: model.timeouts,
        BreakerSpec: model.breaker,
        RetriesSpec: {"attempts": model.attempts, "budget": model.retry_share},
    }
    record = in_force.get(kind)
    if record is None:
        return default
    return record[name] if isinstance(record, dict) else getattr(record, name)


def _spelt(value: Any, type: str) -> str:
    """As one would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if type == "duration":
        days, rest = divmod(value, 86400)
        return f"{days:g}d" if days and not rest else f"{value:g}s"
    if type == "size":
        return f"{value // 2**20}MiB"
    if type.startswith("share"):
        return f"{value:.0%}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _example(part: Part, name: str, shown: Mapping[str, str]) -> str:
    found = next((shown[path] for path in (_joined(at, name) for at in part.paths) if path in shown), "")
    return f"`{found}`" if found else ""


def _shown(text: str) -> dict[str, str]:
    """The first value at each path of a configuration."""
    content = yaml.load(text, yaml.BaseLoader)  # noqa: S506  it makes text of everything
    found: dict[str, str] = {}
    for path, value in _leaves(content, ""):
        found.setdefault(path, value)
    return found


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """The single values of a configuration, and its lists of them, by their path as tables have it."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, _joined(path, name) if path not in _named() else path + ENTRY)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for value in node:
            yield from _leaves(value, path + ITEM)
    else:
        yield path, f"[{', '.join(node)}]" if isinstance(node, list) else node


@cache
def _named() -> frozenset[str]:
    """The mappings whose names are one's own, and whose values are mappings again."""
    return frozenset(path[: -len(ENTRY)] for part in parts() for path in part.paths if path.endswith(ENTRY))


def _above(path: str) -> Iterator[str]:
    """A path, and all that lead to it."""
    pieces = path.split(".")
    for length in range(1, len(pieces) + 1):
        joined = ".".join(pieces[:length])
        yield from (joined, joined.removesuffix(ITEM))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def main() -> None:
    """Writes the document."""
    document = DOCUMENT.read_text()
    DOCUMENT.write_text(written(document, tables(example(document))))


if __name__ == "__main__":
    main()
