"""What is the same about embeddings in every grammar: reading the request, cutting it up, reading numbers. Pure.

Fields that OpenAI's API knows are translated, or named as dropped. Any other field is the provider's own (`input_type`,
`taskType`, `truncate`): dialects pass it on as it is, into the body that they write.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from gateway.core.call import Json
from gateway.core.embedded import Vector
from gateway.core.errors import Unsupported
from gateway.core.events import Usage
from gateway.dialects.openai_shapes import count

T = TypeVar("T")


OPENAI_FIELDS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
"""Every field of OpenAI's request (its API description, 2026)."""


def texts(body: Json) -> list[str]:
    """The inputs of an accepted request, for a provider that takes nothing but text. Raises Unsupported for tokens."""
    given = body["input"]
    if isinstance(given, str):
        return [given]
    if not isinstance(given[0], str):
        raise Unsupported("This provider takes texts to embed, not token numbers.", param="input")
    return list(given)


def batches(inputs: Sequence[T], at_once: int | None) -> list[Sequence[T]]:
    """The inputs in pieces of at most so many; in one piece where there is no limit."""
    size = at_once or len(inputs)
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]


def private(body: Json) -> Json:
    """The fields that OpenAI's API does not have: between the client and the provider."""
    return {name: value for name, value in body.items() if name not in OPENAI_FIELDS and value is not None}


def named(body: Json, lost: Iterable[str]) -> tuple[str, ...]:
    """Those of the fields which a grammar cannot express that the request has."""
    return tuple(name for name in lost if body.get(name) is not None)


def rows(value: Any) -> list[Any]:
    """The list of an answer that holds its vectors. Raises ValueError for one without any, or for no list."""
    if type(value) is not list or not value:
        raise ValueError("no vectors")
    return value


def vector(value: Any) -> Vector:
    """A vector as it was sent. Raises TypeError or ValueError for what is none."""
    if not value:
        raise ValueError("an empty vector")
    if type(value) is not str:
        sum(value)  # the quickest look at whether each is a number
    checked: Vector = value
    return checked


def usage(tokens: Any) -> Usage | None:
    """The tokens that were read, if they were counted at all. No input has none, so 0 is no count."""
    counted = count(tokens)
    return Usage(input=counted) if counted > 0 else None
