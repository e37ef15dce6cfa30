"""Gemini's embeddings: a request for each text, many in one; on Vertex AI instances of a prediction.

Which of the two is meant stands at the end of the address. Only newer models count the tokens.

https://ai.google.dev/api/embeddings
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from gateway.core.call import Call, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded
from gateway.core.errors import malformed
from gateway.dialects import hub
from gateway.dialects.embedding_parts import batches, named, private, rows, texts, usage, vector
from gateway.dialects.gemini_errors import failure_in
from gateway.dialects.hub import JSON_HEADERS

OF_ONE_TEXT = ("taskType", "task_type", "title")
"""Gemini's own fields that Vertex AI wants beside each text; others are of the whole prediction."""


def ask(call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
    """The call in Gemini's grammar, once for each batch. Raises Unsupported for token numbers."""
    body = hub.wanted(call, target)
    url = target.urls["embeddings"]
    predicts = url.endswith(":predict")
    write = _prediction if predicts else _batch
    # On Vertex AI a Gemini model takes one text at once; older ones take more than Gemini's own API.
    at_once = 1 if predicts and target.model.startswith("gemini") else target.inputs_at_once
    settings = private(body)
    if (size := body.get("dimensions")) is not None:
        settings = {"outputDimensionality": size, **settings}
    headers, dropped = JSON_HEADERS + target.headers, named(body, ("user",))
    return tuple(
        UpstreamRequest("POST", url, headers, orjson.dumps(write(batch, settings, target.model)), dropped)
        for batch in batches(texts(body), at_once)
    )


def _batch(batch: Sequence[str], settings: Json, model: str) -> Json:
    return {"requests": [{"model": f"models/{model}", "content": _content(text), **settings} for text in batch]}


def _content(text: str) -> Json:
    return {"parts": [{"text": text}]}


def _prediction(batch: Sequence[str], settings: Json, model: str) -> Json:
    beside = {
        name if name == "title" else "task_type": value for name, value in settings.items() if name in OF_ONE_TEXT
    }
    parameters = {name: value for name, value in settings.items() if name not in OF_ONE_TEXT}
    instances = [{"content": text, **beside} for text in batch]
    return {"instances": instances, **({"parameters": parameters} if parameters else {})}


def answer(reply: UpstreamReply) -> Embedded:
    """One answer. Raises UpstreamError for anything else."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        if "error" in body:
            raise failure_in(body)
        found, tokens = _found(body)
        return Embedded([vector(row["values"]) for row in found], usage(tokens))


def _found(body: Json) -> tuple[list[Json], Any]:
    """What holds the vectors, and how many tokens were read for them."""
    if "predictions" in body:
        found = [prediction["embeddings"] for prediction in rows(body["predictions"])]
        return found, sum(row["statistics"]["token_count"] for row in found)
    found = [body["embedding"]] if "embedding" in body else rows(body["embeddings"])
    return found, (body.get("usageMetadata") or {}).get("promptTokenCount")
