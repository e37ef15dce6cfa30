"""What Cohere is asked for embeddings, and what is read from its answers."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.call import Json, Target
from gateway.core.embedded import Embedded
from gateway.core.errors import Unsupported
from gateway.core.events import Usage
from gateway.dialects import cohere_embeddings
from tests.embedding import GULL, TERN, answered, asked, in_base64, sent

URLS = {"embeddings": "https://api.example.com/v2/embed"}
NEWEST = Target("cohere", "embed-v4.0", URLS, headers=((b"x-client", b"pier"),), inputs_at_once=2, send_user_id=True)
OLDER = Target("cohere", "embed-english-v3.0", URLS)

META: Json = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 5}}


def test_texts_are_embedded_to_be_looked_through_unless_the_client_says_for_what() -> None:
    (body,) = sent(cohere_embeddings, NEWEST)
    assert body == {
        "model": "embed-v4.0", "texts": ["gull"], "input_type": "search_document", "embedding_types": ["float"],
    }  # fmt: skip
    (body,) = sent(cohere_embeddings, NEWEST, input_type="search_query", truncate="START")
    assert (body["input_type"], body["truncate"]) == ("search_query", "START")


def test_base64_is_asked_for_as_such() -> None:
    (body,) = sent(cohere_embeddings, NEWEST, encoding_format="base64")
    assert body["embedding_types"] == ["base64"]


def test_dimensions_have_another_name_and_older_models_do_not_take_them() -> None:
    (body,) = sent(cohere_embeddings, NEWEST, dimensions=512)
    assert body["output_dimension"] == 512
    (request,) = asked(cohere_embeddings, OLDER, dimensions=512)
    assert request.dropped == ("dimensions",)
    assert "output_dimension" not in orjson.loads(request.body)


def test_the_end_users_name_has_no_place_there_and_is_named() -> None:
    (request,) = asked(cohere_embeddings, NEWEST, user="anna")
    assert request.dropped == ("user",)


def test_many_texts_go_out_in_several_requests() -> None:
    assert [body["texts"] for body in sent(cohere_embeddings, NEWEST, input=list("abc"))] == [["a", "b"], ["c"]]


def test_token_numbers_are_refused() -> None:
    with pytest.raises(Unsupported):
        asked(cohere_embeddings, NEWEST, input=[1, 2])


@pytest.mark.parametrize(
    ("embeddings", "vectors"),
    [
        ({"float": [GULL, TERN]}, [GULL, TERN]),
        ({"base64": [in_base64(GULL)], "float": None}, [in_base64(GULL)]),
        ({"int8": [[1, -1]], "float": [GULL]}, [GULL]),
        ({"int8": [[1, -1]]}, [[1, -1]]),
        ([GULL], [GULL]),  # the first version of the API
    ],
)
def test_the_most_exact_vectors_of_an_answer_are_taken(embeddings: object, vectors: list[object]) -> None:
    body = {"id": "e1", "texts": ["gull"], "embeddings": embeddings, "meta": META}
    assert answered(cohere_embeddings, body) == Embedded(vectors, Usage(5))  # type: ignore[arg-type]


def test_tokens_that_were_not_billed_are_not_reported() -> None:
    assert answered(cohere_embeddings, {"embeddings": {"float": [GULL]}, "meta": None}).usage is None
