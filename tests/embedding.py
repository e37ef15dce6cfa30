"""Calls for embeddings and answers to them, for the tests of every grammar they are asked in."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

import orjson

from gateway.core.call import Call, Headers, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded
from gateway.dialects.base import EmbeddingsDialect
from gateway.dialects.hub import JSON_HEADERS
from gateway.surfaces.openai_embeddings import accept

GULL, TERN = [0.5, -0.25], [0.125, 1.0]
"""Vectors of numbers that 32 bits hold exactly."""


def call(**fields: Any) -> Call:
    """An accepted call; of a single word, if no other input is given."""
    body = {"model": "public", "input": "gull", **fields}
    return accept(orjson.dumps(body), id="req_1", path_model=None, default_model=None)


def asked(dialect: EmbeddingsDialect, target: Target, **fields: Any) -> tuple[UpstreamRequest, ...]:
    """The requests for a call. Checks what is true of each: the same again, and the call as it was."""
    made = call(**fields)
    before = orjson.dumps(made.body)
    requests = dialect.ask(made, target)
    assert dialect.ask(made, target) == requests
    assert orjson.dumps(made.body) == before
    assert {(request.method, request.url) for request in requests} == {("POST", target.urls["embeddings"])}
    assert all(request.headers == JSON_HEADERS + target.headers for request in requests)
    return requests


def sent(dialect: EmbeddingsDialect, target: Target, **fields: Any) -> list[Json]:
    """The bodies of the requests."""
    return [orjson.loads(request.body) for request in asked(dialect, target, **fields)]


def answered(dialect: EmbeddingsDialect, body: object, headers: Headers = ()) -> Embedded:
    """What an answer says; its body as an object, or as the bytes themselves."""
    return dialect.answer(UpstreamReply(200, headers, body if isinstance(body, bytes) else orjson.dumps(body)))


def in_base64(numbers: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


NOT_ANSWERS: list[object] = [
    b"",
    b"<html>",
    b'{"data": [',
    b"null",
    None,
    [],
    [1],
    {},
    {"data": None},
    {"data": {}},
    {"data": [None]},
    {"data": [{"index": 0}]},
    {"data": [{"index": 0, "embedding": None}]},
    {"data": [{"index": 0, "embedding": []}]},
    {"data": [{"index": 0, "embedding": [None]}]},
    {"data": [{"index": 0, "embedding": [[1]]}]},
    {"data": [{"index": 0, "embedding": {"a": 1}}]},
    {"embeddings": None},
    {"embeddings": {}},
    {"embeddings": {"float": None}},
    {"embeddings": {"float": [["x"]]}},
    {"embeddings": [None]},
    {"embeddings": [{}]},
    {"embeddings": [{"values": None}]},
    {"embeddings": [{"values": ["x"]}]},
    {"embedding": None},
    {"embedding": []},
    {"embedding": ["x"]},
    {"embedding": {"values": []}},
    {"predictions": [{}]},
    {"predictions": [{"embeddings": {"values": [1.0]}}]},
]
"""Bodies that are no answer in any of the grammars."""
