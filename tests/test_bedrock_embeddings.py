"""What the makers of embedding models on Bedrock are asked, and what is read from their answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Json, Target
from gateway.core.embedded import Embedded
from gateway.core.errors import Unsupported
from gateway.core.events import Usage
from gateway.dialects import bedrock_embeddings
from tests.embedding import GULL, TERN, answered, asked, sent

TITAN_1, TITAN_2 = "amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0"
PICTURING = "amazon.titan-embed-image-v1"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
COHERE_3, COHERE_4 = "cohere.embed-multilingual-v3", "cohere.embed-v4:0"


def target(model: str) -> Target:
    return Target("bedrock", model, {"embeddings": "https://api.example.com/model/m/invoke"}, send_user_id=True)


def bodies(model: str, **fields: Any) -> list[Json]:
    return sent(bedrock_embeddings, target(model), **fields)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (TITAN_1, {"inputText": "gull"}),
        (TITAN_2, {"inputText": "gull", "dimensions": 256}),
        (PICTURING, {"inputText": "gull", "embeddingConfig": {"outputEmbeddingLength": 256}}),
        (
            NOVA,
            {
                "taskType": "SINGLE_EMBEDDING",
                "singleEmbeddingParams": {
                    "embeddingPurpose": "GENERIC_INDEX",
                    "embeddingDimension": 256,
                    "text": {"value": "gull", "truncationMode": "NONE"},
                },
            },
        ),
        (COHERE_3, {"texts": ["gull"], "input_type": "search_document"}),
        (COHERE_4, {"texts": ["gull"], "input_type": "search_document", "output_dimension": 256}),
    ],
)
def test_every_maker_is_asked_in_its_own_grammar(model: str, body: Json) -> None:
    assert bodies(model, dimensions=256, encoding_format="base64") == [body]


@pytest.mark.parametrize(
    "id", ["us.cohere.embed-v4:0", "arn:aws:bedrock:us-east-1:1:inference-profile/eu.cohere.embed-v4:0"]
)
def test_a_model_is_known_behind_a_region_and_in_an_arn(id: str) -> None:
    assert bodies(id)[0]["texts"] == ["gull"]


@pytest.mark.parametrize(
    ("model", "fields", "place"),
    [
        (TITAN_2, {"normalize": False}, ()),
        (NOVA, {"embeddingPurpose": "CLUSTERING"}, ("singleEmbeddingParams",)),
        (COHERE_4, {"input_type": "search_query", "truncate": "END"}, ()),
    ],
)
def test_the_makers_own_fields_are_passed_on(model: str, fields: Json, place: tuple[str, ...]) -> None:
    (body,) = bodies(model, **fields)
    for step in place:
        body = body[step]
    assert body.items() >= fields.items()


@pytest.mark.parametrize("model", [TITAN_1, COHERE_3])
def test_a_model_of_one_size_is_not_asked_for_another(model: str) -> None:
    (request,) = asked(bedrock_embeddings, target(model), dimensions=256, user="anna")
    assert request.dropped == ("dimensions", "user")
    assert b"256" not in request.body


def test_titan_takes_one_text_and_cohere_takes_96() -> None:
    assert [body["inputText"] for body in bodies(TITAN_2, input=list("abc"))] == ["a", "b", "c"]
    assert [len(body["texts"]) for body in bodies(COHERE_4, input=["a"] * 200)] == [96, 96, 8]


PROFILE = "arn:aws:bedrock:eu-west-1:1:application-inference-profile/x"


@pytest.mark.parametrize("model", ["anthropic.claude-3-haiku", PROFILE])
def test_a_model_that_cannot_be_known_to_embed_is_refused(model: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(bedrock_embeddings, target(model))
    assert refused.value.param == "model"


def test_token_numbers_are_refused() -> None:
    with pytest.raises(Unsupported):
        asked(bedrock_embeddings, target(TITAN_2), input=[[1], [2]])


@pytest.mark.parametrize(
    ("body", "vectors"),
    [
        ({"embedding": GULL, "embeddingsByType": {"float": GULL}}, [GULL]),
        ({"embeddingsByType": {"float": GULL}}, [GULL]),
        ({"embeddings": [{"embedding": GULL, "embeddingType": "TEXT"}]}, [GULL]),
        ({"embeddings": [GULL, TERN], "response_type": "embeddings_floats"}, [GULL, TERN]),
        ({"embeddings": {"float": [GULL, TERN]}, "response_type": "embeddings_by_type"}, [GULL, TERN]),
    ],
)
def test_every_makers_answer_is_read(body: Json, vectors: list[list[float]]) -> None:
    counted = answered(bedrock_embeddings, body, ((b"x-amzn-bedrock-input-token-count", b"3"),))
    assert counted == Embedded(vectors, Usage(3))


def test_without_the_header_titans_own_count_is_taken() -> None:
    assert answered(bedrock_embeddings, {"embedding": GULL, "inputTextTokenCount": 3}).usage == Usage(3)
    assert answered(bedrock_embeddings, orjson.dumps({"embedding": GULL})).usage is None
