"""What was said is given to Converse whole, in turns and blocks that it takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Call, Json, Target
from gateway.core.errors import Unsupported
from gateway.dialects.bedrock import ask

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"

QUESTION = {"role": "user", "content": "When is high water?"}
LOOK_UP: Json = {"id": "call_1", "type": "function", "function": {"name": "tide_table", "arguments": '{"day":2}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [LOOK_UP]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "14:10"}
PNG = "iVBORw0KGgo="
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def asked(*messages: Json, model: str = CLAUDE) -> Any:
    body = {"model": "tide", "messages": list(messages)}
    target = Target("aws", model, {"chat": "https://aws.example/model/m/converse"})
    return orjson.loads(ask(Call("1", "chat", "tide", False, False, body), target).body)


def turns(*messages: Json, model: str = CLAUDE) -> Any:
    return asked(*messages, model=model)["messages"]


def content(*parts: Json) -> Any:
    return turns({"role": "user", "content": list(parts)})[0]["content"]


def test_instructions_have_a_place_of_their_own() -> None:
    body = asked({"role": "system", "content": "Be brief."}, QUESTION, {"role": "developer", "content": "Now."})
    assert body["system"] == [{"text": "Be brief."}, {"text": "Now."}]


def test_the_sides_take_turns_though_a_client_speaks_twice() -> None:
    said = turns(QUESTION, {"role": "user", "content": "In Brest."}, {"role": "assistant", "content": "At 14:10."})
    assert [turn["role"] for turn in said] == ["user", "assistant"]
    assert said[0]["content"] == [{"text": "When is high water?"}, {"text": "In Brest."}]


def test_empty_texts_are_left_out_and_so_are_turns_of_nothing_else() -> None:
    said = turns(QUESTION, {"role": "assistant", "content": ""}, {"role": "user", "content": " \n"}, QUESTION)
    assert said == [{"role": "user", "content": [{"text": "When is high water?"}] * 2}]


@pytest.mark.parametrize(
    "messages", [[{"role": "assistant", "content": "Ahoy."}], [{"role": "system", "content": "Hi."}]]
)
def test_the_user_speaks_first_even_where_the_client_did_not(messages: list[Json]) -> None:
    assert turns(*messages)[0] == {"role": "user", "content": [{"text": "Begin."}]}


def test_a_call_and_its_result_are_blocks_of_the_two_sides() -> None:
    _, called, answered = turns(QUESTION, CALLED, {**RESULT, "is_error": True})
    assert called["content"] == [{"toolUse": {"toolUseId": "call_1", "name": "tide_table", "input": {"day": 2}}}]
    result = {"toolUseId": "call_1", "content": [{"text": "14:10"}], "status": "error"}
    assert answered == {"role": "user", "content": [{"toolResult": result}]}


def test_a_result_may_be_a_picture_and_is_never_empty() -> None:
    answered = turns(QUESTION, CALLED, {**RESULT, "content": [PICTURE]})[2]["content"][0]["toolResult"]
    assert answered["content"] == [{"image": {"format": "png", "source": {"bytes": PNG}}}]
    assert turns(QUESTION, CALLED, {**RESULT, "content": ""})[2]["content"][0]["toolResult"]["content"]


def test_an_id_that_bedrock_would_refuse_is_changed_alike_in_call_and_result() -> None:
    call = {**CALLED, "tool_calls": [{**LOOK_UP, "id": "call/1 " * 20}]}
    _, called, answered = turns(QUESTION, call, {**RESULT, "tool_call_id": "call/1 " * 20})
    id = called["content"][0]["toolUse"]["toolUseId"]
    assert id == answered["content"][0]["toolResult"]["toolUseId"]
    assert id.isalnum()
    assert 0 < len(id) <= 64


def test_an_id_of_moonshots_stays_as_it_is() -> None:
    call = {**CALLED, "tool_calls": [{**LOOK_UP, "id": "functions.tide_table:0"}]}
    assert turns(QUESTION, call)[1]["content"][0]["toolUse"]["toolUseId"] == "functions.tide_table:0"


def test_sealed_reasoning_goes_back_before_what_was_said() -> None:
    details = [
        {"type": "reasoning.text", "text": "Add an hour.", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "data": "bm8="},
    ]
    message = {"role": "assistant", "content": "At 15:10.", "reasoning_details": details}
    thoughts = [
        {"reasoningContent": {"reasoningText": {"text": "Add an hour.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "bm8="}},
    ]
    assert turns(QUESTION, message)[1]["content"] == [*thoughts, {"text": "At 15:10."}]
    assert turns(QUESTION, message, model=LLAMA)[1]["content"] == [{"text": "At 15:10."}]


# Media.


def test_a_document_has_a_plain_name_of_its_own_and_a_format() -> None:
    files = [
        ("tides_of.2026.pdf", "application/pdf"),
        ("tides of 2026.PDF", ""),
        ("log.md", "text/plain"),
        ("", "text/x-c"),
    ]
    parts = [
        {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,QQ=="}} for name, kind in files
    ]
    told = [(block["document"]["name"], block["document"]["format"]) for block in content(*parts)[:-1]]
    assert told == [("tides of 2026", "pdf"), ("tides of 2026 (2)", "pdf"), ("log", "md"), ("document", "txt")]


def test_documents_are_not_left_without_a_word() -> None:
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,QQ=="}}
    assert content(file)[1:] == [{"text": "See the documents."}]
    assert len(content(file, {"type": "text", "text": "What is this?"})) == 2


def test_a_cache_point_does_not_follow_a_document_that_is_no_pdf() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    for kind, between in (("text/plain", [{"text": "\n"}]), ("application/pdf", [])):
        file = {"type": "file", "file": {"filename": "a", "file_data": f"data:{kind};base64,QQ=="}}
        told = content({**file, **mark}, {"type": "text", "text": "What is this?"})
        assert told[1:-1] == [*between, {"cachePoint": {"type": "default"}}]


def test_nothing_is_cached_where_nothing_was_said() -> None:
    told = content(
        {"type": "text", "text": " ", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "When?"}
    )
    assert told == [{"text": "When?"}]


@pytest.mark.parametrize("model", ["amazon.titan-text-lite-v1", "mistral.mixtral-8x7b-instruct-v0:1"])
def test_models_that_take_no_instructions_hear_them_from_the_user(model: str) -> None:
    body = asked({"role": "system", "content": "Be brief."}, QUESTION, model=model)
    assert "system" not in body
    assert body["messages"][0]["content"] == [{"text": "Be brief."}, {"text": "When is high water?"}]


def test_a_document_may_be_cited_from() -> None:
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,QQ=="}}
    block, _ = content({**file, "citations": {"enabled": True}})
    assert block["document"]["citations"] == {"enabled": True}
    assert block["document"]["source"] == {"bytes": "QQ=="}


def test_sound_and_film_go_where_converse_has_a_place_for_them() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}
    film = {"type": "file", "file": {"filename": "ebb.mov", "file_data": "data:video/quicktime;base64,QQ=="}}
    assert content(sound, film) == [
        {"audio": {"format": "mp3", "source": {"bytes": "QQ=="}}},
        {"video": {"format": "mov", "source": {"bytes": "QQ=="}}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://tides.example/chart.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,QQ=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"filename": "a.zip", "file_data": "data:application/zip;base64,QQ=="}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "midi"}},
    ],
)
def test_media_that_bedrock_cannot_take_is_refused_by_its_place(part: Json) -> None:
    with pytest.raises(Unsupported) as refused:
        content({"type": "text", "text": "What is this?"}, part)
    assert refused.value.param == "messages[0].content[1]"
