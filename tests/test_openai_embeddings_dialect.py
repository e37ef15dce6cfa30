"""What OpenAI-shaped servers are asked for embeddings, and what is read from their answers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json, Target
from gateway.core.embedded import Embedded, joined
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Usage
from gateway.dialects import openai_embeddings, registry
from gateway.dialects.base import EmbeddingsDialect
from tests.embedding import GULL, NOT_ANSWERS, TERN, answered, asked, in_base64, sent

URLS = {"embeddings": "https://api.example.com/v1/embeddings"}
HARBOUR = Target("harbour", "tide-embed", URLS, headers=((b"x-client", b"pier"),))
TWO_AT_ONCE = Target("harbour", "tide-embed", URLS, inputs_at_once=2)

GOOD: Json = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": 0, "embedding": GULL},
        {"object": "embedding", "index": 1, "embedding": TERN},
    ],
    "model": "tide-embed-2",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


def ask(target: Target = HARBOUR, **fields: Any) -> list[Json]:
    return sent(openai_embeddings, target, **fields)


def answer(body: object) -> Embedded:
    return answered(openai_embeddings, body)


# The request.


def test_the_clients_body_goes_out_with_the_targets_model() -> None:
    fields = {"input": ["gull"], "dimensions": 8, "encoding_format": "base64", "truncate": "END"}
    (request,) = asked(openai_embeddings, HARBOUR, **fields)
    assert orjson.loads(request.body) == {"model": "tide-embed", **fields}
    assert not request.dropped


def test_the_end_users_name_goes_where_it_is_wanted() -> None:
    assert "user" not in ask(user="anna")[0]
    assert ask(Target("harbour", "tide-embed", URLS, send_user_id=True), user="anna")[0]["user"] == "anna"


def test_defaults_are_filled_in_where_the_client_said_nothing() -> None:
    target = Target("harbour", "tide-embed", URLS, defaults={"dimensions": 256})
    assert ask(target)[0]["dimensions"] == 256
    assert ask(target, dimensions=8)[0]["dimensions"] == 8


def test_more_inputs_than_a_server_takes_go_out_in_order_in_several_requests() -> None:
    assert [body["input"] for body in ask(TWO_AT_ONCE, input=list("abcde"))] == [["a", "b"], ["c", "d"], ["e"]]
    assert [body["input"] for body in ask(TWO_AT_ONCE, input=[[1], [2], [3]])] == [[[1], [2]], [[3]]]
    assert all(body["dimensions"] == 8 for body in ask(TWO_AT_ONCE, input=list("abc"), dimensions=8))


@pytest.mark.parametrize("one", ["a long text", [1, 2, 3, 4, 5], ["a", "b"]])
def test_what_a_server_takes_at_once_is_not_cut_up(one: Any) -> None:
    assert [body["input"] for body in ask(TWO_AT_ONCE, input=one)] == [one]


def test_where_no_limit_is_known_nothing_is_cut_up() -> None:
    assert len(ask(input=["a"] * 5000)) == 1


# The answer.


def test_a_good_answer_is_kept_as_it_came() -> None:
    raw = orjson.dumps(GOOD, option=orjson.OPT_INDENT_2)
    assert answer(raw) == Embedded([GULL, TERN], Usage(3), "tide-embed-2", raw)


def test_base64_is_kept_as_base64() -> None:
    body = {**GOOD, "data": [{**GOOD["data"][0], "embedding": in_base64(GULL)}]}
    assert answer(body).vectors == [in_base64(GULL)]
    assert answer(body).spelt


def test_vectors_are_put_in_the_order_of_their_inputs() -> None:
    told = answer({**GOOD, "data": GOOD["data"][::-1]})
    assert told.vectors == [GULL, TERN]
    assert not told.spelt


@pytest.mark.parametrize("indexes", [(None, None), (0, 0), (1, 2), ("0", "1")])
def test_indexes_that_make_no_sense_are_made_anew(indexes: tuple[Any, Any]) -> None:
    rows = [{**row, "index": index} for row, index in zip(GOOD["data"], indexes, strict=True)]
    told = answer({**GOOD, "data": rows})
    assert told.vectors == [GULL, TERN]
    assert not told.spelt


@pytest.mark.parametrize("missing", ["object", "model", "usage"])
def test_an_answer_without_what_clients_need_is_spelt_anew(missing: str) -> None:
    told = answer({name: value for name, value in GOOD.items() if name != missing})
    assert told.vectors == [GULL, TERN]
    assert not told.spelt


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3)),
        ({"total_tokens": 3}, Usage(3)),
        ({"prompt_tokens": "3", "total_tokens": "3"}, Usage(3)),
        ({"prompt_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": -3, "total_tokens": -3}, None),
        ({"prompt_tokens": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_count_is_one_only_if_something_was_counted(usage: Any, counted: Usage | None) -> None:
    assert answer({**GOOD, "usage": usage}).usage == counted


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ({"error": {"message": "no", "type": "server_error"}}, Failure.SERVER_ERROR),
        ({"error": {"message": "no", "code": "rate_limit_exceeded"}}, Failure.RATE_LIMITED),
        ({"object": "error", "message": "no", "code": 400}, Failure.REJECTED),
    ],
)
def test_an_error_in_a_200_is_an_error(body: Json, failure: Failure) -> None:
    with pytest.raises(UpstreamError) as failed:
        answer(body)
    assert failed.value.failure is failure


# Any dialect.


each_dialect = pytest.mark.parametrize("name", registry.EMBEDDINGS)


def dialect(name: str) -> EmbeddingsDialect:
    found = registry.embeddings(name)
    assert found is not None
    return found


@each_dialect
@pytest.mark.parametrize("body", NOT_ANSWERS, ids=repr)
def test_what_is_no_answer_is_an_upstreams_failure_and_nothing_else(name: str, body: object) -> None:
    with pytest.raises(UpstreamError) as failed:
        answered(dialect(name), body)
    assert failed.value.failure is Failure.MALFORMED


NAMES = (
    "data", "embedding", "embeddings", "values", "float", "index", "usage", "meta", "predictions", "error",
    "billed_units", "usageMetadata", "promptTokenCount", "statistics", "token_count", "inputTextTokenCount",
)  # fmt: skip
NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@each_dialect
@given(body=JSON)
def test_any_json_is_an_answer_or_an_upstreams_failure(name: str, body: Any) -> None:
    with suppress(UpstreamError):
        assert answered(dialect(name), body).vectors


def test_a_dialect_without_embeddings_says_so() -> None:
    assert registry.embeddings("anthropic") is None


# A batch in pieces.


def test_the_pieces_of_a_batch_are_joined_in_order() -> None:
    told = joined([Embedded([GULL], Usage(1), "tide", b"x"), Embedded([TERN], Usage(2), "tide", b"y")])
    assert told == Embedded([GULL, TERN], Usage(3), "tide")


def test_a_sum_with_a_piece_missing_is_no_sum() -> None:
    assert joined([Embedded([GULL], Usage(1)), Embedded([TERN])]).usage is None


def test_a_single_piece_is_the_whole() -> None:
    only = Embedded([GULL], Usage(1), "tide", b"x")
    assert joined([only]) is only


def test_vectors_are_not_shown() -> None:
    assert repr(Embedded([GULL], Usage(1), "tide")).startswith("Embedded(1 vectors")
