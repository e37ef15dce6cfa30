"""A conversation as Gemini hears it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Json, Target
from gateway.core.errors import Unsupported
from gateway.dialects.gemini import ask
from gateway.dialects.gemini_turns import UNSIGNED
from gateway.surfaces.openai_chat import accept

HELLO: Json = {"role": "user", "content": "When is high water?"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def body_of(*messages: Json, model: str = "gemini-2.5-flash") -> bytes:
    call = accept(orjson.dumps({"messages": messages}), id="r", path_model=None, default_model="any")
    return ask(call, Target("google", model, {"chat": "http://127.0.0.1:1/m:generateContent"})).body


def turns(*messages: Json, model: str = "gemini-2.5-flash") -> Any:
    return orjson.loads(body_of(*messages, model=model))["contents"]


def called(arguments: str = "{}", id: str = "call_1", name: str = "tide_table", **more: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def assistant(*calls: Json, **fields: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(content: Any, id: str = "call_1", **fields: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **fields}


def test_an_empty_message_is_still_a_turn() -> None:
    assert turns({"role": "user", "content": ""}) == [{"role": "user", "parts": [{"text": ""}]}]


# Tool calls and results.


def test_a_result_is_found_by_the_name_and_the_id_of_its_call() -> None:
    _, model, user = turns(HELLO, assistant(called('{"port":"North Pier"}')), result("04:12"))
    assert model["parts"] == [
        {"functionCall": {"id": "call_1", "name": "tide_table", "args": {"port": "North Pier"}}},
    ]
    assert user["parts"] == [
        {"functionResponse": {"id": "call_1", "name": "tide_table", "response": {"result": "04:12"}}},
    ]


def test_a_result_without_its_call_goes_by_its_id() -> None:
    ((turn),) = turns(result("04:12", id="lost"))
    assert turn["parts"][0]["functionResponse"]["name"] == "lost"


@pytest.mark.parametrize(
    ("said", "response"),
    [
        ({"content": '{"height": 3}'}, {"height": 3}),
        ({"content": "[1, 2]"}, {"result": "[1, 2]"}),
        ({"content": "{not JSON"}, {"result": "{not JSON"}),
        ({"content": ""}, {"result": ""}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"result": "a\nb"}),
        ({"content": "no such port", "is_error": True}, {"error": "no such port"}),
        ({"content": '{"$ref": "#/$defs/Port"}'}, {"result": '{"$ref": "#/$defs/Port"}'}),
    ],
    ids=["object", "list", "broken", "empty", "parts", "error", "reference"],
)
def test_what_a_tool_said_is_an_object(said: Json, response: Json) -> None:
    *_, user = turns(HELLO, assistant(called()), result(**said))
    assert user["parts"][0]["functionResponse"]["response"] == response


def test_long_numbers_keep_all_their_digits() -> None:
    long = b'{"id":123456789012345678901234567890,"share":0.10}'
    body = body_of(HELLO, assistant(called(long.decode())), result(long.decode()))
    assert body.count(long) == 2


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"'])
def test_arguments_that_are_no_object_do_not_end_the_conversation(arguments: str) -> None:
    _, model, _ = turns(HELLO, assistant(called(arguments)), HELLO)
    assert list(model["parts"][0]["functionCall"]["args"]) == ["arguments"]


def test_results_stand_together_and_pictures_behind_them() -> None:
    picture = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PNG}}]
    calls = assistant(called(id="a"), called(id="b"))
    *_, user = turns(HELLO, calls, result(picture, id="a"), result("04:12", id="b"), HELLO)
    assert [next(iter(part)) for part in user["parts"]] == [
        "functionResponse", "functionResponse", "inlineData", "text",
    ]  # fmt: skip


def test_newer_models_take_pictures_within_a_result() -> None:
    picture = [{"type": "image_url", "image_url": {"url": PNG}}]
    *_, user = turns(HELLO, assistant(called()), result(picture), model="gemini-3-flash-preview")
    (part,) = user["parts"]
    assert part["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]


# Signatures.

SIGNED: Json = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}


def test_a_calls_signature_goes_back_with_it() -> None:
    _, model, _ = turns(HELLO, assistant(called(**SIGNED)), result("04:12"))
    assert model["parts"][0]["thoughtSignature"] == "c2lnbmVk"


@pytest.mark.parametrize("model", ["gemini-3-flash-preview", "models/gemini-3.1-pro-preview", "gemini-flash-latest"])
def test_newer_models_get_a_stand_in_for_the_first_signature_that_is_missing(model: str) -> None:
    messages = [HELLO, assistant(called(id="a"), called(id="b")), result("x", id="a"), result("y", id="b")]
    parts = turns(*messages, model=model)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [UNSIGNED, None]


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-2.0-flash", "gemma-3"])
def test_older_models_get_no_stand_in(model: str) -> None:
    _, turn, _ = turns(HELLO, assistant(called()), result("x"), model=model)
    assert "thoughtSignature" not in turn["parts"][0]


def sealed(*data: str) -> list[Json]:
    return [{"type": "reasoning.encrypted", "data": each} for each in data]


def test_a_sealed_text_goes_back_with_its_signature() -> None:
    said = {"role": "assistant", "content": "Six.", "reasoning_details": sealed('{"thoughtSignature":"s"}')}
    assert turns(HELLO, said, HELLO)[1]["parts"] == [{"text": "Six.", "thoughtSignature": "s"}]


def test_a_signature_without_a_text_gets_an_empty_one() -> None:
    said = assistant(called(), reasoning_details=sealed('{"thoughtSignature":"s"}', '{"thoughtSignature":"t"}'))
    *texts, last = turns(HELLO, said, result("x"))[1]["parts"]
    assert texts == [{"text": "", "thoughtSignature": "s"}, {"text": "", "thoughtSignature": "t"}]
    assert "functionCall" in last


@pytest.mark.parametrize("data", ["EqQBCgIYAhIM", "{broken", '{"cipher":"x"}'])
def test_what_another_provider_sealed_is_left_out(data: str) -> None:
    said = {"role": "assistant", "content": "Six.", "reasoning_details": sealed(data)}
    assert turns(HELLO, said, HELLO)[1]["parts"] == [{"text": "Six."}]


# Pictures, sounds, documents.


def media(part: Json) -> Any:
    ((turn),) = turns({"role": "user", "content": [part]})
    return turn["parts"][0]


def test_a_data_url_is_sent_as_its_bytes() -> None:
    told = media({"type": "image_url", "image_url": {"url": PNG}})
    assert told == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


def test_an_address_is_left_to_gemini() -> None:
    url = "https://pier.example/chart.webp?size=2"
    told = media({"type": "image_url", "image_url": {"url": url}})
    assert told == {"fileData": {"fileUri": url, "mimeType": "image/webp"}}


def test_a_film_has_no_type_when_its_address_does_not_say() -> None:
    url = "https://youtu.be/abc"
    told = media({"type": "file", "file": {"file_id": url}, "video_metadata": {"fps": 1}})
    assert told == {"fileData": {"fileUri": url}, "video_metadata": {"fps": 1}}


def test_a_document_without_a_type_goes_by_its_name() -> None:
    told = media({"type": "file", "file": {"file_data": "data:;base64,YQ==", "filename": "tides.CSV"}})
    assert told == {"inlineData": {"mimeType": "text/csv", "data": "YQ=="}}


def test_sound_is_sent_as_its_bytes() -> None:
    told = media({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}})
    assert told == {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}


def test_another_providers_upload_is_refused() -> None:
    with pytest.raises(Unsupported) as refused:
        media({"type": "file", "file": {"file_id": "file-abc"}})
    assert refused.value.param == "messages[0].content[0]"
