"""Mistral's embeddings, as requests: OpenAI's with one field named otherwise. The answers are OpenAI's.

Mistral refuses what it does not know, so the body is written anew. It takes texts only. `mistral-embed` gives 1024
numbers and no other count.

https://docs.mistral.ai/api/endpoint/embeddings
https://docs.mistral.ai/capabilities/embeddings/code_embeddings
"""

from __future__ import annotations

import orjson

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.dialects import hub
from gateway.dialects.embedding_parts import batches, named, private, texts
from gateway.dialects.hub import JSON_HEADERS
from gateway.dialects.openai_embeddings import answer

__all__ = ["answer", "ask"]


def ask(call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
    """The call as Mistral takes it, once for each batch. Raises Unsupported for token numbers."""
    body = hub.wanted(call, target)
    settings: Json = {"model": target.model}
    lost = ["user"]
    if target.model.startswith("mistral-embed"):
        lost.append("dimensions")
    elif (size := body.get("dimensions")) is not None:
        settings["output_dimension"] = size
    if (encoding := body.get("encoding_format")) is not None:
        settings["encoding_format"] = encoding
    settings |= private(body)
    headers, dropped = JSON_HEADERS + target.headers, named(body, lost)
    return tuple(
        UpstreamRequest("POST", target.urls["embeddings"], headers, orjson.dumps({**settings, "input": batch}), dropped)
        for batch in batches(texts(body), target.inputs_at_once)
    )
