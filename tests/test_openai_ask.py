"""What an OpenAI-shaped upstream is sent."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Headers, Json, Quirk, Target
from gateway.dialects import registry
from gateway.dialects.openai_chat import ask
from gateway.surfaces.openai_chat import accept
from gateway.vendors.quirks import QUIRKS

URL = "https://api.example.com/v1/chat/completions"
HELLO: Json = {"model": "public", "messages": [{"role": "user", "content": "Hello"}]}


def call(**fields: Any) -> Call:
    return accept(orjson.dumps({**HELLO, **fields}), id="req_1", path_model=None, default_model=None)


def target(
    *,
    headers: Headers = (),
    quirks: tuple[Quirk, ...] = (),
    defaults: Mapping[str, Any] | None = None,
    send_user_id: bool = False,
) -> Target:
    return Target(
        "p", "own", {"chat": URL}, headers=headers, quirks=quirks, defaults=defaults or {}, send_user_id=send_user_id
    )


def sent(asked: Call, to: Target) -> Any:
    return orjson.loads(ask(asked, to).body)


def test_the_body_goes_out_as_it_came_under_the_targets_name_for_the_model() -> None:
    request = ask(call(temperature=0.5, top_k=3), target())
    assert (request.method, request.url, request.dropped) == ("POST", URL, ())
    assert request.body == orjson.dumps({**HELLO, "model": "own", "temperature": 0.5, "top_k": 3})


def test_a_call_that_names_no_model_is_sent_with_one() -> None:
    raw = orjson.dumps({"messages": HELLO["messages"]})
    assert sent(accept(raw, id="r", path_model=None, default_model="public"), target())["model"] == "own"


def test_headers_are_json_and_then_the_configurations() -> None:
    request = ask(call(), target(headers=((b"openai-organization", b"org-x"),)))
    assert request.headers == (
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"openai-organization", b"org-x"),
    )


def test_a_stream_is_asked_for_as_events() -> None:
    assert (b"accept", b"text/event-stream") in ask(call(stream=True), target()).headers


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_a_stream_is_always_asked_for_its_usage(options: Json | None) -> None:
    body = sent(call(stream=True, stream_options=options), target())
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_clients_other_stream_options_are_kept() -> None:
    body = sent(call(stream=True, stream_options={"include_obfuscation": False}), target())
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_what_is_no_stream_is_not_asked_for_usage() -> None:
    assert sent(call(stream=False), target()) == {**HELLO, "model": "own", "stream": False}


def test_defaults_fill_in_what_the_client_left_open() -> None:
    body = sent(call(temperature=None, top_p=0.1), target(defaults={"temperature": 0.2, "top_p": 0.9, "seed": 1}))
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.2, 0.1, 1)


@pytest.mark.parametrize(
    ("said", "default"), [("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens")]
)
def test_a_default_bound_yields_to_the_clients_under_either_name(said: str, default: str) -> None:
    body = sent(call(**{said: 7}), target(defaults={default: 1024}))
    assert body[said] == 7
    assert default not in body


def test_zero_and_false_are_answers_and_not_gaps() -> None:
    defaults = {"temperature": 1, "logprobs": True, "max_tokens": 1024}
    body = sent(call(temperature=0, logprobs=False, max_tokens=0), target(defaults=defaults))
    assert (body["temperature"], body["logprobs"], body["max_tokens"]) == (0, False, 0)


def test_nulls_are_sent_only_where_the_client_sent_them() -> None:
    assert sent(call(stop=None), target()) == {**HELLO, "model": "own", "stop": None}


def test_who_the_end_user_is_stays_here() -> None:
    request = ask(call(user="ada@example.com", safety_identifier="ada"), target())
    assert b"ada" not in request.body
    assert request.dropped == ()


def test_who_the_end_user_is_goes_out_where_the_provider_may_know() -> None:
    body = sent(call(user="ada", safety_identifier="a1"), target(send_user_id=True))
    assert (body["user"], body["safety_identifier"]) == ("ada", "a1")


def test_the_configurations_own_user_is_sent() -> None:
    assert sent(call(user="ada"), target(defaults={"user": "our-service"}))["user"] == "our-service"


def test_quirks_come_last_and_say_what_they_lost() -> None:
    to = target(quirks=(QUIRKS["no_logprobs"], QUIRKS["max_tokens_only"]), defaults={"max_completion_tokens": 9})
    request = ask(call(logprobs=True), to)
    assert request.dropped == ("logprobs",)
    assert orjson.loads(request.body) == {**HELLO, "model": "own", "max_tokens": 9}


FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans() | st.none(),
    "stream_options": st.none() | st.dictionaries(st.sampled_from(["include_usage"]), st.booleans()),
    "user": st.text(max_size=4),
    "temperature": st.none() | st.floats(0, 2),
    "max_tokens": st.none() | st.integers(0, 100),
    "max_completion_tokens": st.none() | st.integers(1, 100),
    "logprobs": st.booleans(),
    "extra": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3),
}
BODIES = st.fixed_dictionaries({}, optional=dict(FIELDS))
QUIRK_LISTS = st.lists(st.sampled_from(list(QUIRKS.values())), max_size=4, unique=True).map(tuple)
DEFAULTS = st.dictionaries(st.sampled_from(["temperature", "max_tokens", "seed"]), st.integers(1, 2))


@given(BODIES, QUIRK_LISTS, DEFAULTS, st.booleans())
def test_asking_leaves_the_call_unchanged_and_gives_the_same_bytes(
    fields: Json, quirks: tuple[Quirk, ...], defaults: Json, send_user_id: bool
) -> None:
    messages = [{"role": "developer", "content": "x"}, *HELLO["messages"]]
    asked, to = call(messages=messages, **fields), target(quirks=quirks, defaults=defaults, send_user_id=send_user_id)
    before = copy.deepcopy(asked)
    assert ask(asked, to) == ask(asked, to)
    assert asked == before
    assert list(asked.body) == list(before.body)


def test_a_dialect_is_found_by_its_name() -> None:
    assert registry.load("openai_chat").ask(call(), target()).url == URL


def test_a_dialect_that_is_not_there_is_not_found() -> None:
    with pytest.raises(KeyError):
        registry.load("klingon")
