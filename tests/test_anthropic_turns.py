"""A conversation in the words of the Messages API, there and back."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.anthropic import answer
from gateway.surfaces.openai_encoder import whole
from tests.test_anthropic_ask import HELLO, asked, called, result, sent

THOUGHT: Json = {"type": "reasoning.text", "text": "Look it up.", "signature": "c2VhbA==", "index": 0}


def test_instructions_are_gathered_and_keep_their_cache_marks() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    parts = [{"type": "text", "text": "Be brief.", **mark}]
    assert sent({"role": "system", "content": parts}, HELLO, {"role": "developer", "content": "Be kind."})[
        "system"
    ] == [
        {"type": "text", "text": "Be brief.", **mark},
        {"type": "text", "text": "Be kind."},
    ]


def test_instructions_without_marks_are_one_text() -> None:
    body = sent({"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}, HELLO)
    assert body["system"] == "Be brief.\n\nBe kind."


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/jpg;base64,aGk=", {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}),
        ("https://tides.example/a.png", {"type": "url", "url": "https://tides.example/a.png"}),
    ],
)
def test_images_are_sent_as_bytes_or_by_address(url: str, source: Json) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}, {"type": "text", "text": "What is it?"}]
    assert sent({"role": "user", "content": parts})["messages"][0]["content"] == [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is it?"},
    ]


def test_a_file_that_is_an_image_is_sent_as_one() -> None:
    part = {"type": "file", "file": {"file_data": "data:image/png;base64,aGk=", "filename": "a.png"}}
    assert sent({"role": "user", "content": [part]})["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    ]


PLAIN = base64.b64encode("Ebb — flood".encode()).decode()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            {"file_data": "data:application/pdf;base64,JVBE"},
            {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        ),
        ({"file_data": "JVBE"}, {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}),
        ({"file_data": "https://a.example/a.pdf"}, {"type": "url", "url": "https://a.example/a.pdf"}),
        (
            {"file_data": f"data:text/markdown;base64,{PLAIN}"},
            {"type": "text", "media_type": "text/plain", "data": "Ebb — flood"},
        ),
        ({"file_id": "file_1"}, {"type": "file", "file_id": "file_1"}),
    ],
)
def test_documents_are_sent_with_their_names(file: Json, source: Json) -> None:
    part = {"type": "file", "file": {**file, "filename": "almanac"}, "cache_control": {"type": "ephemeral"}}
    assert sent({"role": "user", "content": [part]})["messages"][0]["content"] == [
        {"type": "document", "source": source, "title": "almanac", "cache_control": {"type": "ephemeral"}}
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}},
    ],
)
def test_what_the_provider_cannot_take_is_refused_by_its_place(part: Json) -> None:
    with pytest.raises(Unsupported) as refused:
        asked({"role": "user", "content": [{"type": "text", "text": "Here:"}, part]})
    assert refused.value.param == "messages[0].content[1]"


def test_a_text_file_that_is_no_text_is_the_clients_mistake() -> None:
    part = {"type": "file", "file": {"file_data": "data:text/plain;base64,//79"}}
    with pytest.raises(InvalidRequest):
        asked({"role": "user", "content": [part]})


def test_a_call_and_its_result_are_blocks_and_the_result_comes_first() -> None:
    user = {"role": "user", "content": "And low water?"}
    assert sent(HELLO, called(), user, result())["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "tide_table", "input": {"port": "North"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "04:12"},
                {"type": "text", "text": "And low water?"},
            ],
        },
    ]


def test_a_result_may_hold_images_marks_and_failure() -> None:
    parts = [
        {"type": "text", "text": "A chart:"},
        {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}},
    ]
    mark: Json = {"cache_control": {"type": "ephemeral"}}
    assert sent(HELLO, called(), result(parts, is_error=True, **mark))["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [
                {"type": "text", "text": "A chart:"},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/c.png"}},
            ],
            "is_error": True,
            **mark,
        }
    ]


def test_an_empty_result_has_no_content() -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_1"}
    assert sent(HELLO, called(), result(""))["messages"][2]["content"] == [block]


def test_ids_that_the_provider_would_refuse_are_replaced_in_the_call_and_in_its_result() -> None:
    messages = sent(HELLO, called("functions.tide:0"), result(id="functions.tide:0"))["messages"]
    id = messages[1]["content"][0]["id"]
    assert id.isalnum()
    assert messages[2]["content"][0]["tool_use_id"] == id


def test_functions_of_the_older_grammar_get_an_id_for_each_call() -> None:
    """They are told apart by name only, and a name may come again."""
    call = {"role": "assistant", "content": None, "function_call": {"name": "tide_table", "arguments": "{}"}}
    answer = {"role": "function", "name": "tide_table", "content": "04:12"}
    blocks = [
        block for message in sent(HELLO, call, answer, call, answer)["messages"][1:] for block in message["content"]
    ]
    assert [block.get("id") or block["tool_use_id"] for block in blocks] == ["tide_table", "tide_table"] + [
        "tide_table-2"
    ] * 2


def test_texts_without_a_word_are_left_out() -> None:
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "High water?"}, {"type": "text", "text": " \n"}]
    assistant = {**called(), "content": ""}
    messages = sent({"role": "user", "content": parts}, assistant, result())["messages"]
    assert messages[0]["content"] == [{"type": "text", "text": "High water?"}]
    assert [block["type"] for block in messages[1]["content"]] == ["tool_use"]


def test_a_user_who_says_nothing_still_has_a_turn() -> None:
    messages = sent(HELLO, {"role": "assistant", "content": "At 04:12."}, {"role": "user", "content": ""})["messages"]
    assert messages[2] == {"role": "user", "content": "(no content)"}


def test_an_assistant_who_said_nothing_has_none() -> None:
    user = {"role": "user", "content": "Hello?"}
    assert sent(HELLO, {"role": "assistant", "content": ""}, user)["messages"] == [HELLO, user]


def test_an_answer_that_is_to_be_continued_does_not_end_in_space() -> None:
    assert sent(HELLO, {"role": "assistant", "content": "At \n"})["messages"][1] == {
        "role": "assistant",
        "content": "At",
    }


def test_sealed_thoughts_go_back_before_what_they_led_to() -> None:
    blind = {"type": "reasoning.encrypted", "data": "Ymxpbmq=", "index": 1}
    turn = called(reasoning_details=[THOUGHT, blind], reasoning_content="Look it up.")
    body = sent(HELLO, turn, result(), reasoning_effort="low")
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Look it up.", "signature": "c2VhbA=="},
        {"type": "redacted_thinking", "data": "Ymxpbmq="},
        {"type": "tool_use", "id": "toolu_1", "name": "tide_table", "input": {"port": "North"}},
    ]


def test_thoughts_that_gemini_sealed_stay_here() -> None:
    theirs = {"type": "reasoning.encrypted", "data": '{"thoughtSignature":"Z2VtaW5p"}'}
    request = asked(HELLO, called(reasoning_details=[theirs]), result(), reasoning_effort="low")
    assert [block["type"] for block in orjson.loads(request.body)["messages"][1]["content"]] == ["tool_use"]
    assert request.dropped == ("reasoning_effort",)


# There and back: what the provider said stands in the next request as it was.

words = st.text(min_size=1, max_size=20).filter(lambda text: not text.isspace())
tokens = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
thoughts = st.builds(
    lambda text, seal: {"type": "thinking", "thinking": text, "signature": seal}, st.text(max_size=20), words
) | st.builds(lambda data: {"type": "redacted_thinking", "data": data}, tokens)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
uses = st.builds(
    lambda id, name, input: {"type": "tool_use", "id": id, "name": name, "input": input},
    tokens,
    tokens.filter(lambda name: name != "gateway_answer"),
    st.dictionaries(st.text(max_size=8), values, max_size=3),
)


@given(
    st.lists(thoughts, max_size=3),
    st.lists(texts, max_size=1),
    st.lists(uses, min_size=1, max_size=3, unique_by=lambda use: str(use["id"])),
)
def test_an_answer_goes_back_as_it_came(thought: list[Json], said: list[Json], used: list[Json]) -> None:
    content = [*thought, *said, *used]
    told = {
        "id": "msg_1",
        "model": "claude",
        "content": content,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1},
    }
    message = whole(answer(UpstreamReply(200, (), orjson.dumps(told))), created=0)["choices"][0]["message"]
    results = [result(id=use["id"]) for use in used]
    body = sent(HELLO, message, *results, reasoning_effort="low")
    assert body["messages"][1] == {"role": "assistant", "content": content}
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == [use["id"] for use in used]
    assert ("thinking" in body) is bool(thought)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=4))
@example(["a", "a", "a-2", ""])
def test_whatever_ids_a_client_has_calls_and_results_stay_together(ids: list[str]) -> None:
    messages: list[Json] = [HELLO]
    for id in ids:
        messages += [called(id), result(id=id)]
    blocks: list[Any] = [block for message in sent(*messages)["messages"][1:] for block in message["content"]]
    given_ids, answered = [b["id"] for b in blocks[::2]], [b["tool_use_id"] for b in blocks[1::2]]
    assert given_ids == answered
    assert len(set(given_ids)) == len(ids)
