"""An OpenAI request's messages, sorted into turns: nothing that was said is lost, and everything has its place."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import astuple, replace

from gateway.core.call import Json
from gateway.core.errors import Unsupported
from gateway.dialects.conversation import (
    MediaPart,
    Part,
    TextPart,
    Thought,
    ToolResult,
    ToolUse,
    Turn,
    arguments_object,
    conversation,
)

PNG = "data:image/png;base64,iVBORw0KGgo="


def user(*content: Json | str) -> Json:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def calling(id: str, name: str = "look", arguments: str = "{}", **more: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def only(message: Json) -> Part:
    """The one part of a conversation of one message."""
    ((part,),) = (turn.parts for turn in conversation([message]).turns)
    return part


# Turns.


def test_instructions_are_gathered_wherever_they_stand() -> None:
    said = conversation(
        [
            {"role": "system", "content": "Be brief."},
            user("hello"),
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        ]
    )
    assert [(part.text, part.place) for part in said.system] == [
        ("Be brief.", "messages[0].content"),
        ("Be kind.", "messages[2].content[0]"),
    ]
    assert said.turns == (Turn("user", (TextPart("hello", {}, "messages[1].content"),)),)


def test_neighbours_of_one_side_become_one_turn() -> None:
    said = conversation([user("a"), user("b"), {"role": "assistant", "content": "c"}, user("d")])
    assert [(turn.side, len(turn.parts)) for turn in said.turns] == [("user", 2), ("assistant", 1), ("user", 1)]


def test_results_of_tools_are_the_users_words_in_their_order() -> None:
    said = conversation(
        [
            {"role": "assistant", "content": None, "tool_calls": [calling("1", "look"), calling("2", "listen")]},
            {"role": "tool", "tool_call_id": "2", "content": "waves"},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "the sea"}], "is_error": True},
            user("so?"),
        ]
    )
    calls, results = said.turns
    assert calls.parts == (
        ToolUse("1", "look", "{}", "", {}, "messages[0].tool_calls[0]"),
        ToolUse("2", "listen", "{}", "", {}, "messages[0].tool_calls[1]"),
    )
    assert results.parts == (
        ToolResult("2", "listen", (TextPart("waves", {}, "messages[1].content"),), False, {}, "messages[1]"),
        ToolResult("1", "look", (TextPart("the sea", {}, "messages[2].content[0]"),), True, {}, "messages[2]"),
        TextPart("so?", {}, "messages[3].content"),
    )


def test_a_result_without_its_call_has_no_name() -> None:
    result = only({"role": "tool", "tool_call_id": "9", "content": "waves"})
    assert isinstance(result, ToolResult)
    assert (result.id, result.name) == ("9", "")


def test_a_legacy_function_is_called_and_answered_by_its_name() -> None:
    said = conversation(
        [
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "the sea"},
        ]
    )
    called, answered = (turn.parts[0] for turn in said.turns)
    assert isinstance(called, ToolUse)
    assert isinstance(answered, ToolResult)
    assert (called.id, called.name) == (answered.id, answered.name) == ("look", "look")


def test_a_refusal_is_something_the_assistant_said() -> None:
    assert only({"role": "assistant", "refusal": "No."}) == TextPart("No.", {}, "messages[0].refusal")


def test_sealed_reasoning_comes_back_before_what_it_led_to_and_unsealed_does_not() -> None:
    message = {
        "role": "assistant",
        "content": "The sea.",
        "reasoning_content": "It is blue.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "It is blue.", "signature": "s1"},
            {"type": "reasoning.text", "text": "unsealed"},
            {"type": "reasoning.text", "text": "unsealed", "signature": ""},
            {"type": "reasoning.text", "signature": "s2", "text": None},
            {"type": "reasoning.encrypted", "data": "d1"},
            {"type": "reasoning.summary", "summary": "blue"},
            "garbage",
        ],
    }
    (turn,) = conversation([message]).turns
    assert turn.parts == (
        Thought("It is blue.", "s1", ""),
        Thought("", "s2", ""),
        Thought("", "", "d1"),
        TextPart("The sea.", {}, "messages[0].content"),
    )


def test_a_calls_signature_comes_back_with_it() -> None:
    signed = calling("1", extra_content={"google": {"thought_signature": "s1"}})
    use = only({"role": "assistant", "tool_calls": [signed]})
    assert isinstance(use, ToolUse)
    assert (use.signature, use.extra) == ("s1", {})


# Parts.


def media(part: Json) -> MediaPart:
    read = only(user(part))
    assert isinstance(read, MediaPart)
    return read


def test_an_image_is_its_bytes_or_where_it_is() -> None:
    inline = media({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}})
    assert (inline.kind, inline.media_type, inline.data, inline.url) == ("image", "image/png", "iVBORw0KGgo=", "")
    assert inline.detail == "low"
    linked = media({"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png"}})
    assert (linked.media_type, linked.data, linked.url) == ("", "", "https://pictures.example/cat.png")
    assert media({"type": "image_url", "image_url": PNG}) == replace(inline, detail="")


def test_a_data_url_may_say_more_than_its_type() -> None:
    part = media({"type": "image_url", "image_url": {"url": "data:IMAGE/PNG;charset=x;BASE64,iVBORw0KGgo="}})
    assert (part.media_type, part.data) == ("image/png", "iVBORw0KGgo=")


@pytest.mark.parametrize(("named", "type"), [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("flac", "audio/flac")])
def test_a_sound_has_a_media_type(named: str, type: str) -> None:
    part = media({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": named}})
    assert (part.kind, part.media_type, part.data) == ("audio", type, "UklGRg==")


@pytest.mark.parametrize("data", ["data:application/pdf;base64,JVBERi0=", "JVBERi0="])
def test_a_document_is_a_data_url_or_the_bare_bytes_of_a_pdf(data: str) -> None:
    part = media({"type": "file", "file": {"file_data": data, "filename": "a.pdf"}})
    assert (part.kind, part.media_type, part.data, part.name) == ("file", "application/pdf", "JVBERi0=", "a.pdf")


def test_an_uploaded_document_is_known_by_its_id() -> None:
    part = media({"type": "file", "file": {"file_id": "file-1", "file_data": None}})
    assert (part.file_id, part.data, part.url) == ("file-1", "", "")


def test_fields_that_openai_does_not_have_stay_with_their_part() -> None:
    mark = {"type": "ephemeral"}
    said = conversation(
        [
            user({"type": "text", "text": "a", "cache_control": mark, "citations": None}),
            {"role": "user", "content": "b", "cache_control": mark},
            {**user({"type": "text", "text": "c"}, {"type": "text", "text": "d"}), "cache_control": mark},
            {"role": "assistant", "tool_calls": [calling("1", cache_control=mark)]},
            {"role": "tool", "tool_call_id": "1", "content": "e", "cache_control": mark},
        ]
    )  # fmt: skip
    marked = [part for turn in said.turns for part in turn.parts if not isinstance(part, Thought) and part.extra]
    assert [(part.place, part.extra) for part in marked] == [
        (place, {"cache_control": mark})
        for place in ("messages[0].content[0]", "messages[1].content", "messages[2].content[1]",
                      "messages[3].tool_calls[0]", "messages[4]")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (user({"type": "video_url", "video_url": {"url": "https://a.example"}}), "messages[0].content[0]"),
        (user({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg"}}), "messages[0].content[0]"),
        (user({"type": "file", "file": {"filename": "a.pdf"}}), "messages[0].content[0]"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": PNG}]}, "messages[0].content[0]"),
        ({"role": "assistant", "audio": {"id": "audio-1"}}, "messages[0].audio"),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "x", "input": "y"}}]},
            "messages[0].tool_calls[0]",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(message: Json, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        conversation([message])
    assert refused.value.param == place


# Arguments.


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("null", {}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[1]", {"arguments": [1]}),
        ('"a"', {"arguments": "a"}),
        ("0", {"arguments": 0}),
    ],
)
def test_arguments_are_an_object_and_broken_ones_are_kept_as_text(written: str, read: Json) -> None:
    assert arguments_object(ToolUse("1", "look", written, "", {}, "")) == read


@pytest.mark.parametrize("depth", [50, 99, 101, 300, 1000, 2000])
def test_arguments_can_be_written_again_however_deep_they_are(depth: int) -> None:
    written = '{"a":' * depth + "[]" + "}" * depth
    read = arguments_object(ToolUse("1", "look", written, "", {}, ""))
    assert orjson.loads(orjson.dumps(read)) == (orjson.loads(written) if depth < 100 else {"arguments": written})


# Whatever is said.

TEXTS = st.text(max_size=5)
PARTS = st.one_of(
    TEXTS.map(lambda text: {"type": "text", "text": text}),
    TEXTS.map(lambda text: {"type": "image_url", "image_url": {"url": f"https:{text}"}}),
    TEXTS.map(lambda text: {"type": "file", "file": {"file_id": f"file-{text}"}}),
)
CONTENTS = st.one_of(TEXTS, st.lists(PARTS, max_size=3))
CALLS = st.builds(calling, TEXTS, TEXTS, TEXTS)
MESSAGES = st.one_of(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer"]), TEXTS),
    st.builds(lambda content: {"role": "user", "content": content}, CONTENTS),
    st.builds(
        lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
        st.none() | CONTENTS,
        st.lists(CALLS, max_size=3),
    ),
    st.builds(lambda id, content: {"role": "tool", "tool_call_id": id, "content": content}, TEXTS, CONTENTS),
)


GRAMMAR = {"system", "developer", "user", "assistant", "tool", "text", "image_url", "file", "function"}
"""Words of the request that nobody said."""


def strings(value: Any) -> list[str]:
    """Every text in a value, however deep: what people said, links, ids, names and arguments."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Struct):
        value = astuple(value)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for child in children for text in strings(child)]


@given(st.lists(MESSAGES, max_size=8))
def test_sides_take_turns_and_no_turn_is_empty(messages: list[Json]) -> None:
    turns = conversation(messages).turns
    assert all(turn.parts for turn in turns)
    assert all(one.side != other.side for one, other in pairwise(turns))


@given(st.lists(MESSAGES, max_size=8))
def test_nothing_that_was_said_is_lost(messages: list[Json]) -> None:
    before = orjson.dumps(messages)
    told = conversation(messages)
    said = Counter(strings([told.system, [turn.parts for turn in told.turns]]))
    assert not Counter(text for text in strings(messages) if text not in GRAMMAR) - said
    assert orjson.dumps(messages) == before


@given(st.lists(MESSAGES, max_size=8))
def test_what_each_side_said_keeps_its_order(messages: list[Json]) -> None:
    places = [
        part.place for turn in conversation(messages).turns for part in turn.parts if not isinstance(part, Thought)
    ]
    assert [_number(place) for place in places] == sorted(_number(place) for place in places)


def _number(place: str) -> int:
    return int(place.removeprefix("messages[").partition("]")[0])
