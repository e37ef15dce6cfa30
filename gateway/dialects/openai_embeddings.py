"""Embeddings in OpenAI's own grammar, which Azure and many other servers speak. What comes in goes out, near enough.

An answer is read whole even where its own bytes go to the client: 35 us for the 1536 numbers of a vector, 3 us for its
base64. That is what it costs to know that every input has its vector, in order.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.core.call import Call, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded
from gateway.core.errors import malformed
from gateway.dialects import hub
from gateway.dialects.embedding_parts import batches, rows, usage, vector
from gateway.dialects.hub import JSON_HEADERS
from gateway.dialects.openai_errors import failure_in


def ask(call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
    """The client's body with the target's model, once for each batch that the server takes.

    The end user's name is left out unless the target wants it. Numbers alone are the tokens of one input.
    """
    body = {**hub.wanted(call, target), "model": target.model}
    given = body["input"]
    several = isinstance(given, list) and not isinstance(given[0], int)
    inputs = batches(given, target.inputs_at_once) if several else [given]
    headers = JSON_HEADERS + target.headers
    return tuple(
        UpstreamRequest("POST", target.urls["embeddings"], headers, orjson.dumps({**body, "input": batch}))
        for batch in inputs
    )


def answer(reply: UpstreamReply) -> Embedded:
    """One answer. Raises UpstreamError for anything else."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        if (error := failure_in(body)) is not None:
            raise error
        ordered = _in_order(rows(body["data"]))
        vectors = [vector(row["embedding"]) for row in ordered]
        model, told = body.get("model"), body.get("usage") or {}
        counted = usage(told.get("prompt_tokens") or told.get("total_tokens"))
        spelt = reply.body if _sound(body) else b""
        return Embedded(vectors, counted, model if isinstance(model, str) else "", spelt)


def _in_order(found: list[Json]) -> list[Json]:
    """The vectors in the order of their inputs: by `index`, or where that makes no sense, as they came."""
    told = [row.get("index") for row in found]
    places = range(len(found))
    if told == list(places) or set(told) != set(places):
        return found
    return sorted(found, key=lambda row: int(row["index"]))


def _sound(body: Json) -> bool:
    """Whether all that OpenAI promises is there. GitHub's Copilot tells no `object` and no `model` (recorded)."""
    told = body.get("usage")
    return (
        body.get("object") == "list"
        and isinstance(body.get("model"), str)
        and isinstance(told, dict)
        and all(_is_count(told.get(name)) for name in ("prompt_tokens", "total_tokens"))
        and all(
            row.get("object") == "embedding" and row.get("index") == index for index, row in enumerate(body["data"])
        )
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0
