"""Embeddings on Amazon Bedrock: InvokeModel, in which every maker of models has a grammar of its own.

Which one is meant is told by the model's id. It may stand behind a region (`us.`) or within an ARN; what an
application's inference profile leads to cannot be seen, so none can be asked through it.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-mm.html
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from gateway.core.call import Call, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded, Vector
from gateway.core.errors import Unsupported, malformed
from gateway.dialects import cohere_vectors, hub
from gateway.dialects.embedding_parts import batches, named, private, texts, usage, vector
from gateway.dialects.hub import JSON_HEADERS

COUNT = b"x-amzn-bedrock-input-token-count"
"""The header in which Bedrock counts the tokens of any model."""


def ask(call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
    """The call in the grammar of the model's maker, once for each batch. Raises Unsupported for token numbers."""
    kind = _kind_of(target.model)
    body = hub.wanted(call, target)
    headers = JSON_HEADERS + target.headers
    dropped = named(body, ("user",) if kind.sizes else ("dimensions", "user"))
    return tuple(
        UpstreamRequest(
            "POST", target.urls["embeddings"], headers, orjson.dumps(kind.write(batch, body, target.model)), dropped
        )
        for batch in batches(texts(body), kind.at_once)
    )


# Requests, by the maker of the model. Those that take one text are never given more.


def _titan(batch: Sequence[str], body: Json, model: str) -> Json:
    return {"inputText": batch[0], **_size(body, "dimensions"), **private(body)}


def _first_titan(batch: Sequence[str], body: Json, model: str) -> Json:
    return {"inputText": batch[0], **private(body)}


def _picturing_titan(batch: Sequence[str], body: Json, model: str) -> Json:
    config = _size(body, "outputEmbeddingLength")
    return {"inputText": batch[0], **({"embeddingConfig": config} if config else {}), **private(body)}


def _nova(batch: Sequence[str], body: Json, model: str) -> Json:
    """A text that is too long is refused, as OpenAI does, and not cut."""
    asked = {
        "embeddingPurpose": "GENERIC_INDEX",
        **_size(body, "embeddingDimension"),
        "text": {"value": batch[0], "truncationMode": "NONE"},
    }
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked | private(body)}


def _size(body: Json, name: str) -> Json:
    return {name: body["dimensions"]} if body.get("dimensions") is not None else {}


class Kind(NamedTuple):
    """Models that are asked alike."""

    write: Callable[[Sequence[str], Json, str], Json]
    """From a batch of texts, the request's body and the model to the body that is sent."""
    at_once: int = 1
    """Texts in one request."""
    sizes: bool = True
    """Whether a client may choose the length of the vectors."""


KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = tuple(
    (re.compile(rf"(?:^|[./]){pattern}"), kind)
    for pattern, kind in (
        (r"amazon\.titan-embed-text-v1", Kind(_first_titan, sizes=False)),
        (r"amazon\.titan-embed-g1", Kind(_first_titan, sizes=False)),
        (r"amazon\.titan-embed-image", Kind(_picturing_titan)),
        (r"amazon\.titan-embed", Kind(_titan)),
        (r"amazon\.nova-.*embed", Kind(_nova)),
        (r"cohere\.embed-(english|multilingual)", Kind(cohere_vectors.request_of, cohere_vectors.AT_ONCE, sizes=False)),
        (r"cohere\.embed", Kind(cohere_vectors.request_of, cohere_vectors.AT_ONCE)),
    )
)
"""By a part of the id. The first that fits counts."""


def _kind_of(model: str) -> Kind:
    for pattern, kind in KINDS:
        if pattern.search(model):
            return kind
    raise Unsupported(f"No embeddings are known of the model {model}.", param="model")


# Answers.


def answer(reply: UpstreamReply) -> Embedded:
    """One answer, of whichever model. Raises UpstreamError for anything else."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        counted = reply.header(COUNT)
        tokens = int(counted) if counted.isdigit() else body.get("inputTextTokenCount")
        return Embedded(_vectors(body), usage(tokens))


def _vectors(body: Any) -> list[Vector]:
    match body:
        case {"embedding": list(found)} | {"embeddingsByType": {"float": list(found)}}:
            return [vector(found)]
        case {"embeddings": [{"embedding": _}, *_] as found}:
            return [vector(row["embedding"]) for row in found]
    return cohere_vectors.vectors_in(body["embeddings"])
