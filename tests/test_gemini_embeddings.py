"""What Gemini is asked for embeddings, by itself and on Vertex AI, and what is read from its answers."""

from __future__ import annotations

import pytest

from gateway.core.call import Target
from gateway.core.embedded import Embedded
from gateway.core.errors import Failure, Unsupported, UpstreamError
from gateway.core.events import Usage
from gateway.dialects import gemini_embeddings
from tests.embedding import GULL, TERN, answered, asked, sent

ORIGIN = "https://api.example.com/models/m"
GEMINI = Target("google", "gemini-embedding-001", {"embeddings": f"{ORIGIN}:batchEmbedContents"}, inputs_at_once=2)
VERTEX = Target("vertex", "text-embedding-005", {"embeddings": f"{ORIGIN}:predict"}, inputs_at_once=2)
GEMINI_ON_VERTEX = Target("vertex", "gemini-embedding-001", {"embeddings": f"{ORIGIN}:predict"}, inputs_at_once=2)


def test_each_text_is_a_request_within_one() -> None:
    (body,) = sent(gemini_embeddings, GEMINI, input=["gull", "tern"], dimensions=256, taskType="CLUSTERING")
    common = {"model": "models/gemini-embedding-001", "outputDimensionality": 256, "taskType": "CLUSTERING"}
    assert body == {"requests": [{**common, "content": {"parts": [{"text": text}]}} for text in ("gull", "tern")]}


def test_on_vertex_each_text_is_an_instance_of_one_prediction() -> None:
    own = {"taskType": "CLUSTERING", "title": "Birds", "autoTruncate": False}
    (body,) = sent(gemini_embeddings, VERTEX, input=["a", "b"], dimensions=256, **own)
    assert body == {
        "instances": [{"content": text, "task_type": "CLUSTERING", "title": "Birds"} for text in ("a", "b")],
        "parameters": {"outputDimensionality": 256, "autoTruncate": False},
    }
    assert sent(gemini_embeddings, VERTEX) == [{"instances": [{"content": "gull"}]}]


def test_many_texts_go_out_in_several_requests_and_on_vertex_a_gemini_model_takes_one() -> None:
    assert [len(body["requests"]) for body in sent(gemini_embeddings, GEMINI, input=list("abc"))] == [2, 1]
    assert [len(body["instances"]) for body in sent(gemini_embeddings, VERTEX, input=list("abc"))] == [2, 1]
    assert [len(body["instances"]) for body in sent(gemini_embeddings, GEMINI_ON_VERTEX, input=list("abc"))] == [1] * 3


def test_token_numbers_are_refused() -> None:
    with pytest.raises(Unsupported):
        asked(gemini_embeddings, GEMINI, input=[1, 2])


VALUES = [{"values": GULL}, {"values": TERN}]


def test_newer_models_count_their_tokens_and_older_ones_do_not() -> None:
    counted = answered(gemini_embeddings, {"embeddings": VALUES, "usageMetadata": {"promptTokenCount": 4}})
    assert counted == Embedded([GULL, TERN], Usage(4))
    assert answered(gemini_embeddings, {"embeddings": VALUES}) == Embedded([GULL, TERN])


def test_vertex_counts_the_tokens_of_each_text() -> None:
    predictions = [{"embeddings": {**value, "statistics": {"token_count": 2}}} for value in VALUES]
    assert answered(gemini_embeddings, {"predictions": predictions}) == Embedded([GULL, TERN], Usage(4))


def test_an_error_in_a_200_is_an_error() -> None:
    with pytest.raises(UpstreamError) as failed:
        answered(gemini_embeddings, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no"}})
    assert failed.value.failure is Failure.RATE_LIMITED
