"""What surfaces check requests with: the JSON object, its model, and each value by its type, range and place. Pure.

A check is a function of one value that is not null. It says nothing of a good one, and raises `Unfit` for another.
Checks are put together from smaller ones when a surface is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.core.errors import InvalidRequest

DEPTH_LIMIT = 100
"""Levels of nesting. orjson reads 1024 but writes only 254, and nothing that people send comes near 100."""

NAME_LIMIT = 256
"""Characters of a model's name."""

EXACT = 2**53
"""Beyond this a number is not the same in every JSON reader (RFC 8259, section 6)."""

Check = Callable[[Any], None]


def read(raw: bytes, check: Check) -> Json:
    """The body of a request, if it passes the check. Raises InvalidRequest, which names the field in `param`."""
    body = _object_in(raw)
    try:
        check(body)
    except Unfit as unfit:
        raise InvalidRequest(f"`{unfit.param}` {unfit.problem}.", param=unfit.param) from None
    return body


def _object_in(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(_unreadable(raw, error)) from None
    if type(body) is not dict:
        raise InvalidRequest(f"The body must be a JSON object, not {shown(body)}.")
    if _brackets(raw) > DEPTH_LIMIT and _deeper_than(DEPTH_LIMIT, body):  # what has few brackets cannot be deep
        raise InvalidRequest(f"The body is nested deeper than {DEPTH_LIMIT} levels.")
    return body


def _brackets(raw: bytes) -> int:
    """How many are opened. By what is missing without them: `replace` looks with memchr, `count` at each byte."""
    return 2 * len(raw) - len(raw.replace(b"{", b"")) - len(raw.replace(b"[", b""))


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if not raw.strip():
        return "The body is empty; send a JSON object."
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8: byte {wrong.start} cannot be read."
    return f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."


def _deeper_than(limit: int, value: object) -> bool:
    """Level by level and not by recursion, which is what deep nesting would break."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent) if type(child) in (dict, list)]
        if not level:
            return False
    return True


def _children(value: Any) -> Any:
    return value.values() if type(value) is dict else value


def model_of(body: Json, path_model: str | None, default_model: str | None) -> str:
    """The model: the body's, else the one in an Azure path, else the default one. Raises InvalidRequest."""
    named = body.get("model")
    if not named or named == "default":
        named = path_model if path_model and path_model != "default" else default_model
    if not named:
        raise InvalidRequest("`model` is required: no default model is configured.", param="model")
    if len(named) > NAME_LIMIT or not named.isprintable():
        problem = f"must have at most {NAME_LIMIT} characters, all of them printable"
        raise InvalidRequest(f"`model` {problem}.", param="model")
    return named


class Unfit(Exception):
    """A value is not what its place wants. The place is put together on the way out, so a good request pays nothing."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place

    def inside(self, place: str) -> Unfit:
        """The same, seen from one level up."""
        self.place = place + self.place
        return self

    @property
    def param(self) -> str:
        """Such as `messages[2].content`."""
        return self.place.removeprefix(".")


def shown(value: object) -> str:
    """A wrong value in a message: numbers as they are, of anything longer only its kind."""
    match value:
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return orjson.dumps(value).decode()


# Checks, and what they are made of. JSON has only exact types here, so `type(x) is int` is true of no boolean.


def typed(wanted: str, *types: type) -> Check:
    """One of these types; `wanted` says so in words."""

    def check(value: Any) -> None:
        if type(value) not in types:
            raise Unfit(f"must be {wanted}, not {shown(value)}")

    return check


def within(low: float, high: float, wanted: str, *types: type) -> Check:
    """A number of one of these types, from `low` to `high`."""

    def check(value: Any) -> None:
        if type(value) not in types or not low <= value <= high:
            raise Unfit(f"must be {wanted}, not {shown(value)}")

    return check


def number(low: float, high: float) -> Check:
    """Any number from `low` to `high`."""
    return within(low, high, f"a number from {low} to {high}", int, float)


def integer(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""
    return within(low, high, f"an integer from {low} to {high}", int)


def list_of(check: Check, wanted: str = "a list") -> Check:
    """A list, each item of which passes the check."""

    def check_list(value: Any) -> None:
        if type(value) is not list:
            raise Unfit(f"must be {wanted}, not {shown(value)}")
        for index, item in enumerate(value):
            try:
                check(item)
            except Unfit as unfit:
                raise unfit.inside(f"[{index}]") from None

    return check_list


def fields(table: Mapping[str, Check], *required: str) -> Check:
    """An object: the fields of the table where they are given, and those that must be."""

    def check_object(value: Any) -> None:
        if type(value) is not dict:
            raise Unfit(f"must be an object, not {shown(value)}")
        for name, item in value.items():
            if item is None or (check := table.get(name)) is None:
                continue
            try:
                check(item)
            except Unfit as unfit:
                raise unfit.inside(f".{name}") from None
        for name in required:
            if value.get(name) is None:
                raise Unfit("is required", f".{name}")

    return check_object


def kinds(tag: str, table: Mapping[str, Check], default: str = "") -> Check:
    """An object that names its kind in `tag`. Kinds that are not in the table pass: servers have their own."""

    def check_kind(value: Any) -> None:
        an_object(value)
        kind = default if value.get(tag) is None else value[tag]
        if type(kind) is not str or not kind:
            raise Unfit("is required, as a string", f".{tag}")
        if check := table.get(kind):
            check(value)

    return check_kind


def string_or(check: Check) -> Check:
    """A string, or what passes the check."""

    def check_either(value: Any) -> None:
        if type(value) is not str:
            check(value)

    return check_either


string = typed("a string", str)
boolean = typed("true or false", bool)
an_object = typed("an object", dict)
string_or_object = typed("a string or an object", str, dict)
strings = list_of(string, "a list of strings")
