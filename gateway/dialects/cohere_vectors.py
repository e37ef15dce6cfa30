"""Cohere's embedding models, wherever they are served: what they are asked, and the vectors in their answers. Pure.

https://docs.cohere.com/reference/embed
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.core.call import Json
from gateway.core.embedded import Vector
from gateway.dialects.embedding_parts import private, rows, vector

AT_ONCE = 96
"""Texts in one request."""

INPUT_TYPE = "search_document"
"""What vectors are made for where nobody says: most are looked through later."""

_ONE_SIZE = re.compile(r"embed-(english|multilingual)")
"""Models before the fourth version."""


def takes_dimensions(model: str) -> bool:
    """Whether a model, by its name or its id on Bedrock, makes vectors of several lengths."""
    return not _ONE_SIZE.search(model)


def request_of(texts: Sequence[str], body: Json, model: str) -> Json:
    """What a model is asked for these texts of a request. The client's fields of Cohere's own grammar win."""
    asked: Json = {"texts": texts, "input_type": INPUT_TYPE}
    if body.get("dimensions") is not None and takes_dimensions(model):
        asked["output_dimension"] = body["dimensions"]
    return asked | private(body)


def vectors_in(embeddings: Any) -> list[Vector]:
    """The vectors of an answer: a list of them, or lists by type, of which the most exact is taken.

    Raises TypeError, AttributeError, LookupError or ValueError for anything else.
    """
    if not isinstance(embeddings, list):
        by_type = {name: found for name, found in embeddings.items() if found is not None}
        kind = next((name for name in ("float", "base64") if name in by_type), None) or next(iter(by_type), "float")
        embeddings = by_type[kind]
    return [vector(found) for found in rows(embeddings)]
