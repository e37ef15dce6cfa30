"""What Mistral is asked for embeddings. Its answers are OpenAI's: see `test_openai_embeddings_dialect`."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.call import Target
from gateway.core.errors import Unsupported
from gateway.dialects import mistral_embeddings
from tests.embedding import asked, sent

URLS = {"embeddings": "https://api.example.com/v1/embeddings"}
CODE = Target("mistral", "codestral-embed", URLS, headers=((b"x-client", b"pier"),), send_user_id=True)
PLAIN = Target("mistral", "mistral-embed-2312", URLS, inputs_at_once=2)


def test_dimensions_have_another_name() -> None:
    (body,) = sent(mistral_embeddings, CODE, input=["gull"], dimensions=64, encoding_format="base64")
    assert body == {"model": "codestral-embed", "input": ["gull"], "output_dimension": 64, "encoding_format": "base64"}


def test_mistrals_own_fields_are_passed_on() -> None:
    (body,) = sent(mistral_embeddings, CODE, output_dtype="int8", encoding_format=None)
    assert body == {"model": "codestral-embed", "input": ["gull"], "output_dtype": "int8"}


def test_what_mistral_does_not_know_is_left_out_and_named() -> None:
    (request,) = asked(mistral_embeddings, CODE, user="anna", dimensions=64)
    assert request.dropped == ("user",)
    assert "user" not in orjson.loads(request.body)


def test_a_model_of_one_size_is_not_asked_for_another() -> None:
    (request,) = asked(mistral_embeddings, PLAIN, dimensions=64)
    assert request.dropped == ("dimensions",)
    assert orjson.loads(request.body) == {"model": "mistral-embed-2312", "input": ["gull"]}


def test_many_texts_go_out_in_several_requests() -> None:
    bodies = sent(mistral_embeddings, PLAIN, input=list("abc"))
    assert [body["input"] for body in bodies] == [["a", "b"], ["c"]]


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_token_numbers_are_refused(tokens: object) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(mistral_embeddings, CODE, input=tokens)
    assert refused.value.param == "input"
