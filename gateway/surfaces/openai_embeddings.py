"""A request for embeddings, as OpenAI's clients ask it and hear it answered. Pure.

OpenAI's own SDKs ask for base64 unless they are told otherwise, and read it as little-endian floats of 32 bits:
https://github.com/openai/openai-python/blob/main/src/openai/resources/embeddings.py

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode, b64encode
from typing import Any

import orjson

from gateway.core.call import Call, Json
from gateway.core.embedded import Embedded, Vector
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import Usage
from gateway.surfaces.checks import EXACT, Check, Unfit, fields, integer, list_of, model_of, read, shown, string

INPUTS_LIMIT = 16_384
"""Inputs of one call: eight times what OpenAI takes. Some providers are asked once for each."""


def accept(raw: bytes, *, id: str, path_model: str | None, default_model: str | None) -> Call:
    """The call that these bytes ask for. Raises InvalidRequest, which names the field in `param`."""
    body = read(raw, _request)
    return Call(
        id=id,
        endpoint="embeddings",
        model=model_of(body, path_model, default_model),
        stream=False,
        include_usage=False,
        body=body,
        size=len(raw),
    )


def number_of_inputs(body: Json) -> int:
    """How many vectors an accepted request asks for. Numbers alone are the tokens of one input."""
    given = body["input"]
    return len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1


# Checks


def _tokens(value: Any) -> None:
    if type(value) is not list:
        raise Unfit(f"must be a list of token numbers, not {shown(value)}")
    # Looked at as a whole: there may be millions.
    if set(map(type, value)) != {int} or min(value) < 0 or max(value) >= EXACT:
        raise Unfit("must be a list of token numbers, at least one, and nothing else")


_LISTS: dict[type, Check] = {str: list_of(string), list: list_of(_tokens), int: _tokens}
"""By the type of the first item: all the others must be like it."""


def _input(value: Any) -> None:
    if type(value) is str:
        return
    if type(value) is not list:
        raise Unfit(f"must be a string, a list of strings, or token numbers, not {shown(value)}")
    if not value:
        raise Unfit("must hold at least one input")
    kind = type(value[0])
    if kind not in _LISTS:
        raise Unfit(f"must be a string or token numbers, not {shown(value[0])}", "[0]")
    if kind is not int and len(value) > INPUTS_LIMIT:
        raise Unfit(f"must hold at most {INPUTS_LIMIT} inputs, not {len(value)}")
    _LISTS[kind](value)


def _encoding(value: Any) -> None:
    if value not in ("float", "base64"):
        raise Unfit("must be float or base64")


KNOWN: dict[str, Check] = {
    "input": _input,
    "model": string,
    "encoding_format": _encoding,
    "dimensions": integer(1, EXACT),
    "user": string,
}
"""Every field that is looked at. The rest is between the client and the server."""

_request = fields(KNOWN, "input")


# The answer


def answer(embedded: Embedded, call: Call, usage: Usage) -> bytes:
    """What the client gets. The upstream's own bytes, if they are right and encode vectors as the client wants them.

    Raises UpstreamError for vectors that cannot be encoded so.
    """
    in_base64 = call.body.get("encoding_format") == "base64"
    if embedded.spelt and all(isinstance(vector, str) is in_base64 for vector in embedded.vectors):
        return embedded.spelt
    encode = _base64 if in_base64 else _numbers
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)}
        for index, vector in enumerate(embedded.vectors)
    ]
    counts = {"prompt_tokens": usage.input, "total_tokens": usage.total}
    body = {"object": "list", "data": data, "model": embedded.model or call.model, "usage": counts}
    return orjson.dumps(body)


def _base64(vector: Vector) -> str:
    if isinstance(vector, str):
        return vector
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError) as error:
        raise UpstreamError(Failure.MALFORMED, "a vector of other than numbers of 32 bits") from error


def _numbers(vector: Vector) -> list[float]:
    if not isinstance(vector, str):
        return vector
    with malformed("a vector that is no base64"):
        raw = b64decode(vector, validate=True)
    numbers = [number for (number,) in struct.iter_unpack("<f", raw)] if len(raw) % 4 == 0 else []
    # Perplexity's bytes are a number each (recorded): read so, some of them are none. JSON has no word for those.
    if not numbers or not math.isfinite(sum(numbers)):
        raise UpstreamError(Failure.MALFORMED, "a vector in base64 of other than numbers of 32 bits")
    return numbers
