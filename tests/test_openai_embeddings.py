"""What clients may ask to be embedded, and how they are answered."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from gateway.core.call import Call, Json
from gateway.core.embedded import Embedded
from gateway.core.errors import Failure, InvalidRequest, UpstreamError
from gateway.core.events import Usage
from gateway.surfaces.openai_embeddings import INPUTS_LIMIT, KNOWN, accept, answer, number_of_inputs
from tests.embedding import GULL, TERN, call, in_base64

BASE64 = call(encoding_format="base64")
FLOAT = call(encoding_format="float")
SEVEN = Usage(7)


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as wrong:
        call(**fields)
    return wrong.value


# The request.


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("gull", 1), ("", 1), (["gull"], 1), (["gull", "tern"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
def test_inputs_are_texts_or_tokens_one_or_several(given: Any, inputs: int) -> None:
    made = call(input=given)
    assert (made.endpoint, made.model, made.stream) == ("embeddings", "public", False)
    assert number_of_inputs(made.body) == inputs


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"), (1, "input"), (True, "input"), ({}, "input"), ([], "input"), ([None], "input[0]"),
        ([1.5], "input[0]"), ([True], "input[0]"), ([{}], "input[0]"), (["gull", 1], "input[1]"),
        (["gull", None], "input[1]"), ([1, "gull"], "input"), ([1, -1], "input"), ([1, 2**53], "input"),
        ([1, True], "input"), ([[]], "input[0]"), ([[1], "gull"], "input[1]"), ([[1], [1.5]], "input[1]"),
        ([[1], [[1]]], "input[1]"), ([[1], [-1]], "input[1]"),
    ],
)  # fmt: skip
def test_any_other_input_is_refused_by_its_place(given: Any, param: str) -> None:
    error = refused(input=given)
    assert error.param == param
    assert error.message.startswith(f"`{param}` ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoding_format", "hex"), ("encoding_format", 1), ("encoding_format", ["float"]), ("dimensions", 0),
        ("dimensions", -1), ("dimensions", 1.5), ("dimensions", "512"), ("dimensions", 1e300), ("dimensions", True),
        ("user", 1), ("model", 1), ("model", {}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_field_is_named(field: str, value: Any) -> None:
    assert refused(**{field: value}).param == field


def test_null_means_absent() -> None:
    given = dict.fromkeys(KNOWN.keys() - {"input"})
    raw = orjson.dumps({"input": "gull", **given})
    assert accept(raw, id="r", path_model=None, default_model="usual").model == "usual"


def test_fields_that_openai_does_not_have_are_the_providers() -> None:
    assert call(input_type="search_query", truncate={"any": 1}).body["truncate"] == {"any": 1}


def test_the_model_may_stand_in_an_azure_path() -> None:
    raw = orjson.dumps({"input": "gull"})
    assert accept(raw, id="r", path_model="deployed", default_model="usual").model == "deployed"
    with pytest.raises(InvalidRequest):
        accept(raw, id="r", path_model=None, default_model=None)


def test_there_is_a_most_to_the_inputs_of_one_call_and_none_to_the_tokens_of_one_input() -> None:
    assert number_of_inputs(call(input=["a"] * INPUTS_LIMIT).body) == INPUTS_LIMIT
    assert refused(input=["a"] * (INPUTS_LIMIT + 1)).param == "input"
    assert refused(input=[[1]] * (INPUTS_LIMIT + 1)).param == "input"
    assert number_of_inputs(call(input=[1] * (INPUTS_LIMIT + 1)).body) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.dictionaries(st.sampled_from(sorted(KNOWN)), JSON))
def test_whatever_is_sent_is_taken_or_refused(body: Any) -> None:
    try:
        made = accept(orjson.dumps(body), id="r", path_model=None, default_model="m")
    except InvalidRequest:
        return
    assert number_of_inputs(made.body) > 0


# The answer.


def told(embedded: Embedded, made: Call = FLOAT, usage: Usage = SEVEN) -> Json:
    """The answer's body, which OpenAI's own SDK can read."""
    body: Json = orjson.loads(answer(embedded, made, usage))
    CreateEmbeddingResponse.model_validate(
        {**body, "data": [{**row, "embedding": []} for row in body["data"]]}, strict=True
    )
    return body


def test_an_answer_has_every_vector_in_its_place_and_the_tokens_that_were_read() -> None:
    assert told(Embedded([GULL, TERN], Usage(7), "tide-embed")) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": GULL},
            {"object": "embedding", "index": 1, "embedding": TERN},
        ],
        "model": "tide-embed",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_where_the_provider_names_no_model_the_client_hears_its_own_name() -> None:
    assert told(Embedded([GULL]))["model"] == "public"


def test_vectors_are_encoded_as_the_client_asks() -> None:
    mixed = Embedded([GULL, in_base64(TERN)])
    assert [row["embedding"] for row in told(mixed, FLOAT)["data"]] == [GULL, TERN]
    assert [row["embedding"] for row in told(mixed, call())["data"]] == [GULL, TERN]
    assert [row["embedding"] for row in told(mixed, BASE64)["data"]] == [in_base64(GULL), in_base64(TERN)]


def test_an_answer_that_was_right_goes_out_as_it_came() -> None:
    spelt = b'{"as": "it came"}'
    assert answer(Embedded([GULL], spelt=spelt), FLOAT, Usage(1)) == spelt
    assert answer(Embedded([in_base64(GULL)], spelt=spelt), BASE64, Usage(1)) == spelt


def test_an_answer_in_the_other_encoding_is_spelt_anew() -> None:
    spelt = b'{"as": "it came"}'
    assert told(Embedded([GULL], spelt=spelt), BASE64)["data"][0]["embedding"] == in_base64(GULL)
    assert told(Embedded([in_base64(GULL)], spelt=spelt), FLOAT)["data"][0]["embedding"] == GULL


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_base64_and_numbers_are_the_same_vector(numbers: list[float]) -> None:
    (row,) = told(Embedded([numbers]), BASE64)["data"]
    assert row["embedding"] == in_base64(numbers)
    (row,) = told(Embedded([row["embedding"]]), FLOAT)["data"]
    assert row["embedding"] == numbers


@pytest.mark.parametrize(
    ("vector", "made"),
    [
        ("not base64!", FLOAT),
        ("AAAA", FLOAT),  # three bytes
        (in_base64([float("nan")]), FLOAT),
        (in_base64([float("inf")]), FLOAT),
        ([1e300], BASE64),
        ([10**40], BASE64),
    ],
)
def test_a_vector_that_cannot_be_encoded_so_is_the_upstreams_fault(vector: Any, made: Call) -> None:
    with pytest.raises(UpstreamError) as failed:
        answer(Embedded([vector]), made, Usage(1))
    assert failed.value.failure is Failure.MALFORMED
