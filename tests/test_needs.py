"""What a request needs of a model, and which targets it is not worth sending to."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Need, Target
from gateway.core.errors import InvalidRequest
from gateway.policy.needs import can_serve, least_tokens, needs
from gateway.surfaces.openai_chat import accept

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
TOOL = {"type": "function", "function": {"name": "look"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}
CHAT = {"chat": "https://a.example/chat"}
ENGLISH = "The quick brown fox jumps over the lazy dog while nobody in the village looks. "


def said(*content: Any, role: str = "user", **fields: Any) -> Call:
    body = {"model": "m", "messages": [{"role": role, "content": part} for part in content], **fields}
    return Call("req_1", "chat", "m", stream=False, include_usage=False, body=body, size=len(orjson.dumps(body)))


def target(context: int | None = None, lacks: tuple[Need, ...] = (), **urls: str) -> Target:
    return Target("p", "m", urls or CHAT, context=context, lacks=frozenset(lacks))


# Needs.


@pytest.mark.parametrize(
    ("need", "call"),
    [
        ("images", said([{"type": "text", "text": "Look"}, PICTURE])),
        ("images", said([{"type": "image_url", "image_url": "https://a.example/cat.png"}])),
        ("images", said([PICTURE], role="tool")),
        ("tools", said("Hi", tools=[TOOL])),
        ("tools", said("Hi", functions=[{"name": "look"}])),
        ("schema", said("Hi", response_format=SCHEMA)),
    ],
)
def test_what_a_request_needs_is_read_from_it(need: Need, call: Call) -> None:
    assert needs(call.body) == {need}
    assert not can_serve(target(lacks=(need,)), call)
    assert can_serve(target(), call)


@pytest.mark.parametrize(
    "call",
    [
        said("Hi"),
        said([{"type": "text", "text": "image_url"}]),
        said([{"type": ["image_url"]}, {"type": None}, "image_url", None]),
        said([{"type": "file", "file": {"file_id": "file-1"}}]),
        said("Hi", tools=[], functions=[]),
        said("Hi", response_format={"type": "json_object"}),
        said("Hi", response_format=None, tools=None),
    ],
)
def test_any_model_will_do_for_a_request_without_needs(call: Call) -> None:
    assert needs(call.body) == frozenset()
    assert can_serve(target(lacks=("images", "tools", "schema")), call)


def test_a_target_is_asked_for_all_that_it_does_not_lack() -> None:
    assert can_serve(target(lacks=("images",)), said("Hi", tools=[TOOL], response_format=SCHEMA))


# Windows.


def test_a_prompt_that_is_too_long_for_certain_is_not_sent() -> None:
    call = said(ENGLISH * 2000)
    assert not can_serve(target(context=8192), call)
    assert can_serve(target(context=32_768), call)


def test_a_prompt_that_may_just_fit_is_sent() -> None:
    call = said(ENGLISH * 700)  # about 11,000 tokens, and nobody can be sure of that
    assert can_serve(target(context=8192), call)


def test_all_that_was_said_counts() -> None:
    call = said(ENGLISH * 1000, [{"type": "text", "text": ENGLISH * 1000}])
    assert not can_serve(target(context=8192), call)


def test_a_picture_is_not_taken_for_text() -> None:
    assert least_tokens(said([{"type": "text", "text": "Look"}, PICTURE])) == 0
    assert can_serve(target(context=1000), said([PICTURE]))


@pytest.mark.parametrize("row", [" " * 80 + "x\n", "-" * 80 + "\n", "=" * 80 + "\n"])
def test_long_rows_of_one_sign_count_for_little(row: str) -> None:
    assert least_tokens(said(row * 1000)) <= 125


@pytest.mark.parametrize("field", ["context_management", "transforms", "truncation"])
def test_a_talk_that_the_server_may_shorten_fits_anywhere(field: str) -> None:
    fields: Json = {field: ["any"]}
    assert can_serve(target(context=1000), said(ENGLISH * 2000, **fields))


def test_earlier_thoughts_do_not_count() -> None:
    answer = [{"type": "text", "text": f"<think>{ENGLISH * 2000}"}, {"type": "text", "text": "</think>Yes."}]
    assert least_tokens(said(answer, role="assistant")) == 0
    assert least_tokens(said(answer, role="user")) > 10_000


def test_without_a_window_everything_fits() -> None:
    assert can_serve(target(), said(ENGLISH * 10_000))


# Kinds of calls.


def test_a_target_serves_only_the_kinds_of_calls_it_has_an_address_for() -> None:
    embed = Call("req_1", "embeddings", "m", stream=False, include_usage=False, body={"input": "Hi"}, size=15)
    assert can_serve(target(embeddings="https://a.example"), embed)
    assert not can_serve(target(), embed)
    assert not can_serve(target(embeddings="https://a.example"), said("Hi"))


def test_the_window_of_a_model_for_embeddings_is_that_of_each_input() -> None:
    inputs = [ENGLISH * 20] * 100
    call = Call("r", "embeddings", "m", stream=False, include_usage=False, body={"input": inputs}, size=160_000)
    assert can_serve(target(context=512, embeddings="https://a.example"), call)


# Odd requests.

NAMES = st.sampled_from(("type", "text", "content", "role", "image_url", "url", "name")) | st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(("text", "image_url", "x"))}, optional={"text": JSON, "url": JSON}
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(("user", "assistant", "tool"))}, optional={"content": JSON})
PARTED = st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(PART | JSON, max_size=3)})
BODY = st.fixed_dictionaries(
    {"messages": JSON | st.lists(MESSAGE | PARTED | JSON, min_size=1, max_size=3)},
    optional={"tools": JSON, "functions": JSON, "response_format": JSON, "truncation": JSON},
)


@given(BODY)
def test_no_request_is_too_odd_to_be_looked_at(body: Json) -> None:
    call = Call("r", "chat", "m", stream=False, include_usage=False, body=body, size=len(orjson.dumps(body)))
    assert needs(body) <= {"images", "tools", "schema"}
    assert 0 <= least_tokens(call) <= call.size
    can_serve(target(context=1, lacks=("images", "tools", "schema")), call)


@given(st.lists(st.text(), min_size=1))
def test_a_body_never_counts_for_more_than_its_size_allows(contents: list[str]) -> None:
    raw = orjson.dumps({"messages": [{"role": "user", "content": content} for content in contents], "model": "m"})
    try:
        call = accept(raw, id="r", path_model=None, default_model=None)
    except InvalidRequest:
        return
    assert least_tokens(call) * 8 <= call.size


# What really was said.

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"
SOURCES = ("openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "openai_compat.chat", "gemini_openai.chat")
LIKE_OPENAI = ("mistral.chat", "cohere.chat", "anthropic.messages")
"""Other grammars whose messages are told in the same way."""
COUNTED = re.compile(rb'"(prompt_tokens|input_tokens|cache_(?:creation|read)_input_tokens)"\s*:\s*(\d+)')


def recorded(source: str) -> Iterator[tuple[str, Call, int]]:
    """Name, call and the tokens of the prompt as the provider counted them, where it did."""
    with gzip.open(RECORDINGS / f"{source}.jsonl.gz") as lines:
        for line in lines:
            recording = orjson.loads(line)
            body, answer = recording["request"]["body"], recording["response"].get("body_text", "").encode()
            most = {b"prompt_tokens": 0, b"input_tokens": 0}
            for kind, number in COUNTED.findall(answer):
                most[kind] = max(most.get(kind, 0), int(number))
            counted = most.pop(b"prompt_tokens") or sum(most.values())  # Anthropic's input has its caches beside it
            if isinstance(body, dict) and recording["response"]["status"] < 400 and counted:
                call = Call("r", "chat", "m", False, False, body, len(orjson.dumps(body)))
                yield recording["name"], call, counted


@pytest.mark.recordings
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize("source", SOURCES + LIKE_OPENAI)
def test_no_recorded_prompt_had_fewer_tokens_than_were_certain(source: str) -> None:
    calls = list(recorded(source))
    assert calls
    assert [name for name, call, counted in calls if least_tokens(call) > counted] == []
    assert [name for name, call, counted in calls if not can_serve(target(context=counted), call)] == []
