"""Cohere's embeddings, the second version of its API. `cohere_vectors` has what Bedrock says of the same models.

Cohere wants to know what the vectors are for. OpenAI's clients do not say, so it is told the use that most vectors are
made for; a client that says `input_type` is taken at its word.

https://docs.cohere.com/reference/embed
"""

from __future__ import annotations

import orjson

from gateway.core.call import Call, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded
from gateway.core.errors import malformed
from gateway.dialects import hub
from gateway.dialects.cohere_vectors import request_of, takes_dimensions, vectors_in
from gateway.dialects.embedding_parts import batches, named, texts, usage
from gateway.dialects.hub import JSON_HEADERS


def ask(call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
    """The call in Cohere's grammar, once for each batch. Raises Unsupported for token numbers."""
    body = hub.wanted(call, target)
    encoding = "base64" if body.get("encoding_format") == "base64" else "float"
    common = {"model": target.model, "embedding_types": [encoding]}
    dropped = named(body, ("user",) if takes_dimensions(target.model) else ("dimensions", "user"))
    headers = JSON_HEADERS + target.headers
    return tuple(
        UpstreamRequest(
            "POST",
            target.urls["embeddings"],
            headers,
            orjson.dumps({**common, **request_of(batch, body, target.model)}),
            dropped,
        )
        for batch in batches(texts(body), target.inputs_at_once)
    )


def answer(reply: UpstreamReply) -> Embedded:
    """One answer. Raises UpstreamError for anything else."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        billed = (body.get("meta") or {}).get("billed_units") or {}
        return Embedded(vectors_in(body["embeddings"]), usage(billed.get("input_tokens")))
