"""A tree to records: each value is read as the field it stands in wants it, and each complaint is noted.

Shapes are dataclasses, lists, mappings and values with a `Form`. What cannot be read is left at its default, or is
empty text where there is none: nothing that is read can be empty, so whoever sees that knows of the complaint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gateway.config.complaints import Mark, Place, Review, Steps, closest, did_you_mean, one_of, quoted
from gateway.config.expand import environment_variables, expand
from gateway.config.spec import Json
from gateway.config.tree import Entries, Items, Node, Scalar
from gateway.config.values import Form

Record = TypeVar("Record")

MOST_VALUES = 50_000
"""Values of one file, each counted as often as aliases repeat it: two dozen lines of them can stand for billions."""

NOTHING = ("", "~", "null", "Null", "NULL")
"""How YAML writes that there is no value."""

NO_VALUE = "has no value; write one, or remove the line"

UNREAD: Any = object()
"""Stands for a value with a complaint."""


class Filler:
    """Fills records from one tree."""

    def __init__(self, review: Review, environ: Mapping[str, str]) -> None:
        self._review = review
        self._environ = environ
        self._values = 0
        self._readers: dict[object, Callable[[Any, Node, Steps], Any]] = {
            list: self._list,
            dict: self._dict,
            Literal: self._choice,
            Annotated: self._annotated,
            UnionType: self._either,
            Union: self._either,
        }

    def record(self, shape: type[Record], node: Node, path: Steps = ()) -> Record:
        """A record with what could be read. A required field that could not is empty text."""
        kind: type = shape  # mypy takes a type variable for something without a hash
        found = {key.text: self._field(shape, key, value, path) for key, value in self._entries(node, path)}
        values = {name: value for name, value in found.items() if value is not UNREAD}
        if isinstance(node, Entries):
            for name in sorted(_required(kind).keys() - found.keys()):
                if self._review.read_well((*path, name)):
                    self._review.complain(path, f"{quoted(name)} is missing")
                    self._review.doubt((*path, name))
        return shape(**_required(kind) | values)

    def _field(self, shape: type, key: Scalar, node: Node, path: Steps) -> Any:
        name, here, known = key.text, (*path, key.text), _fields(shape)
        if name not in known:
            self._review.complain(here, f"is not a field here{did_you_mean(name, known)}", key.mark)
            if meant := closest(name, known):
                self._review.doubt((*path, meant))
            return UNREAD
        return self._value(known[name], node, here, key)

    def _value(self, shape: Any, node: Node, path: Steps, key: Scalar | None = None) -> Any:
        self._count()
        mark = node.mark if key is None or isinstance(node, Scalar) else key.mark
        self._review.places[path] = Place(mark)
        kind, optional = _without_none(shape)
        if isinstance(kind, type) and is_dataclass(kind):
            return self.record(kind, node, path)
        try:
            if kind == Json:
                return self._json(node, path)
            value = self._readers[get_origin(kind)](kind, node, path)
        except ValueError as error:
            self._review.complain(path, str(error))
            return UNREAD
        if value == "" and not optional:
            self._review.complain(path, f"is empty{empty_because(self._review.place(path).variables)}")
            return UNREAD
        return None if value == "" else value

    def _list(self, shape: Any, node: Node, path: Steps) -> list[Any]:
        if not isinstance(node, Items):
            raise ValueError("must be a list, such as [a, b]")
        values = [self._value(get_args(shape)[0], item, (*path, index)) for index, item in enumerate(node.items)]
        return ["" if value is UNREAD else value for value in values]

    def _either(self, shape: Any, node: Node, path: Steps) -> Any:
        """A list or a word, or a record or a value."""
        several, single = get_args(shape)
        if isinstance(several, type) and is_dataclass(several):
            if isinstance(node, Entries):
                return self.record(several, node, path)
            return self._annotated(single, node, path)
        if not isinstance(node, Scalar):
            return self._list(several, node, path)
        text = self._text(node, path)
        if text and text not in get_args(single):
            raise ValueError(f"must be a list, such as [a, b], or {one_of(get_args(single))}")
        return text

    def _dict(self, shape: Any, node: Node, path: Steps) -> dict[str, Any]:
        key_shape, value_shape = get_args(shape)
        found = {}
        for key, value in self._entries(node, path):
            here = (*path, key.text)
            filled = self._value(value_shape, value, here, key)
            try:
                name = _read(_form(key_shape), key.text, quoted(key.text))
            except ValueError as error:
                self._review.complain(here, str(error), key.mark)
                continue
            if name in found:
                self._review.complain(here, f"is written twice, as {quoted(name)}", key.mark)
            found[name] = "" if filled is UNREAD else filled
        return found

    def _annotated(self, shape: Any, node: Node, path: Steps) -> Any:
        form = _form(shape)
        text = self._text(node, path, form.secret)
        return text and _read(form, text, self._review.place(path).shown)

    def _choice(self, shape: Any, node: Node, path: Steps) -> str:
        text, choices = self._text(node, path), get_args(shape)
        if text and text not in choices:
            shown = self._review.place(path).shown
            raise ValueError(f"{shown} must be {one_of(choices)}{did_you_mean(text, choices)}")
        return text

    def _text(self, node: Node, path: Steps, secret: bool = False) -> str:
        """The text of a single value, its variables replaced. Raises ValueError."""
        if not isinstance(node, Scalar):
            raise ValueError("must be a single value")
        if _is_nothing(node):
            raise ValueError(NO_VALUE)
        given = expand(node.text, self._environ)
        shown = "the value" if secret else quoted(node.text)
        self._review.places[path] = Place(node.mark, shown, given.typed, given.variables)
        return given.text

    def _json(self, node: Node, path: Steps) -> Any:
        match node:
            case Entries(_, entries):
                return {key.text: self._value(Json, value, (*path, key.text), key) for key, value in entries}
            case Items(_, items):
                return [self._value(Json, item, (*path, index)) for index, item in enumerate(items)]
        if _is_nothing(node):
            return None
        text = self._text(node, path)
        return _read(PLAIN_JSON, text, quoted(node.text)) if node.plain else text

    def _entries(self, node: Node, path: Steps) -> tuple[tuple[Scalar, Node], ...]:
        if isinstance(node, Entries):
            return node.entries
        nothing = isinstance(node, Scalar) and _is_nothing(node)
        self._review.complain(path, NO_VALUE if nothing else "must be a mapping, such as {name: value}")
        return ()

    def _count(self) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            self._review.complain((), f"holds more than {MOST_VALUES} values, counting what aliases repeat", Mark(1, 1))
            self._review.finish()


def empty_because(variables: tuple[str, ...]) -> str:
    """Which variable left a value empty, as the end of a sentence."""
    return f": {environment_variables(variables)} empty" if variables else ""


# YAML 1.2.2, 10.3.2: the core schema.
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_YES_OR_NO = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def plain_json(text: str) -> str | int | float | bool:
    """What an unquoted scalar means. Raises ValueError for what JSON cannot hold, or readers of YAML dispute."""
    if text in _FLAGS:
        return _FLAGS[text]
    if _YES_OR_NO.fullmatch(text):
        raise ValueError("is a flag to some readers of YAML and text to others; write true or false, or quote it")
    if _NO_NUMBER.fullmatch(text):
        raise ValueError("is not a number that JSON can hold")
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _finite(float(text))
    return text


def _integer(text: str) -> int:
    value = int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 24 else 2**64
    if not -(2**63) <= value < 2**64:
        raise ValueError("is too large for a number in JSON")
    return value


def _finite(value: float) -> float:
    if math.isinf(value):
        raise ValueError("is too large for a number in JSON")
    return value


PLAIN_JSON = Form(plain_json, {})


@cache
def _fields(shape: type) -> dict[str, Any]:
    hints = get_type_hints(shape, include_extras=True)
    return {field.name: hints[field.name] for field in fields(shape)}


@cache
def _required(shape: type) -> dict[str, Any]:
    """The fields that must be written, each with an empty value to stand in for it."""
    required = (field.name for field in fields(shape) if field.default is field.default_factory is MISSING)
    return {name: [] if get_origin(_fields(shape)[name]) is list else "" for name in required}


def _without_none(shape: Any) -> tuple[Any, bool]:
    if get_origin(shape) in (Union, UnionType) and NoneType in get_args(shape):
        return Union[tuple(kind for kind in get_args(shape) if kind is not NoneType)], True  # noqa: UP007
    return shape, False


def _is_nothing(node: Scalar) -> bool:
    return node.plain and node.text in NOTHING


def _read(form: Form, text: str, shown: str) -> Any:
    try:
        return form.read(text)
    except ValueError as error:
        raise ValueError(f"{shown} {error}") from None


def _form(shape: Any) -> Form:
    form = get_args(shape)[1]
    assert isinstance(form, Form)
    return form
