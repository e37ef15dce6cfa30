"""Chunks that are known again by their bytes: whatever is taken for one must be one."""

from __future__ import annotations

import string
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.dialects.openai_mould import Mould, mould
from gateway.dialects.openai_relay import Relay

SHAPES: dict[str, Json] = {
    "plain": {},
    "padded": {"obfuscation": "Wd7xPz"},
    "padded before usage": {"obfuscation": "Wd7xPz", "usage": None},
    "padded after usage": {"usage": None, "obfuscation": "Wd7xPz"},
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def chunk(text: str, shape: Json, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}]
    envelope = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "tide-1"}
    return b"data: " + orjson.dumps({**envelope, "choices": choices, **shape, **more}) + b"\n\n"


def cast(shape: Json, text: str = " ebb") -> Mould:
    made = mould(chunk(text, shape), text)
    assert made is not None
    return made


@shapes
@pytest.mark.parametrize("text", ["a", " word", "1 + 1 = 2;", "{}[]:,", "'"])
def test_plain_text_in_the_same_place_is_known_again(shape: Json, text: str) -> None:
    assert cast(shape).holds(chunk(text, shape)) == len(text)


@shapes
@pytest.mark.parametrize("text", ["", 'say "no"', "back\\slash", "line\nend", "é", "\u2028", "\x00", "\x7f"])
def test_text_that_json_writes_in_another_way_is_looked_at(shape: Json, text: str) -> None:
    assert cast(shape).holds(chunk(text, shape)) == 0


@shapes
@pytest.mark.parametrize(
    "other",
    [
        {"error": {"message": "no"}},
        {"id": "gen-2"},
        {"usage": {"prompt_tokens": 1}},
        {"choices": [{"index": 1, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": "stop"}]},
    ],
)
def test_anything_else_that_is_different_is_looked_at(shape: Json, other: Json) -> None:
    assert cast(shape).holds(chunk("a", shape, **other)) == 0


@shapes
def test_two_events_or_half_a_one_are_looked_at(shape: Json) -> None:
    one = chunk("a", shape)
    for data in (one + one, one[:-1], one + b":", b":\n\n" + one, one[:-2] + b",\n\n", one.replace(b"\n", b"\r\n")):
        assert cast(shape).holds(data) == 0


@shapes
@given(data=st.data())
def test_whatever_is_taken_for_a_chunk_is_one_with_another_text(shape: Json, data: st.DataObject) -> None:
    raw = bytearray(chunk(data.draw(st.text(string.printable, min_size=1, max_size=8)), shape))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    length = cast(shape).holds(bytes(raw))
    if length:
        told = orjson.loads(raw[6:])
        text = told["choices"][0]["delta"].pop("content")
        known = orjson.loads(chunk(" ebb", shape)[6:])
        known["choices"][0]["delta"].pop("content")
        for each in (told, known):
            each.pop("obfuscation", None)
        assert (told, len(text)) == (known, length)


def test_a_text_that_also_stands_elsewhere_makes_no_mould_of_the_wrong_place() -> None:
    text = "tide-1"
    assert mould(chunk(text, {}), text) is None


@shapes
@given(texts=st.lists(st.text(min_size=1, max_size=8), max_size=12), asked=st.booleans())
def test_a_relay_tells_the_same_however_it_knows_its_chunks(shape: Json, texts: list[str], asked: bool) -> None:
    ending = chunk("", shape, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]) + b"data: [DONE]\n\n"
    events = [*(chunk(text, shape) for text in texts), ending]
    one_by_one, bytewise = (Relay(include_usage=asked, done_marker=True) for _ in range(2))
    told = b"".join(one_by_one.feed(event) for event in events) + one_by_one.end()
    whole = b"".join(bytewise.feed(bytes([byte])) for byte in b"".join(events)) + bytewise.end()
    assert told == whole
    assert one_by_one.carried == bytewise.carried == sum(map(len, texts))
