"""Whole answers that are known again by their bytes: whatever is taken for one must be one, and read the same."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import UpstreamError
from gateway.core.events import Usage
from gateway.dialects.openai_answers import body_of, usage_of
from gateway.dialects.openai_mould import MOST_PLACES, Whole, recognised, remember
from gateway.dialects.openai_relay import characters, whole

COMPACT, PRETTY = 0, orjson.OPT_INDENT_2
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def answer(text: Any = "High water.", id: str = "gen-1", usage: Json | None = None, **more: Any) -> Json:
    counts = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, **DETAILS, **(usage or {})}
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    named = {"id": id, "object": "chat.completion", "created": 1760000000, "model": "tide-1-2026-01-02"}
    return {**named, "choices": [choice], "usage": counts, "system_fingerprint": "fp_1a2b3c", **more}


def looked_at(raw: bytes) -> Whole | None:
    """What a full look at an answer tells; None for one that is not right as it is."""
    try:
        body, changed = body_of(UpstreamReply(200, (), raw))
    except UpstreamError:
        return None
    return None if changed else Whole(raw, usage_of(body), characters(body["choices"], "message"))


def learn(style: int = COMPACT) -> None:
    meet_twice(orjson.dumps(answer(), option=style))


def meet_twice(raw: bytes) -> None:
    for _ in range(2):
        whole(UpstreamReply(200, (), raw))


@pytest.mark.parametrize("style", [COMPACT, PRETTY], ids=["compact", "pretty"])
def test_an_answer_like_one_before_is_known_again(style: int) -> None:
    learn(style)
    other = answer('Low "water"\n\\', "gen-2", {"prompt_tokens": 480, "completion_tokens": 220, "total_tokens": 700})
    raw = orjson.dumps(other | {"created": 1760000001}, option=style)
    assert recognised(raw) == Whole(raw, Usage(480, 220, cache_read=3, reasoning=1), 13)


def test_an_answer_of_another_model_does_not_push_out_the_first() -> None:
    learn()
    meet_twice(orjson.dumps(answer(model="tide-2-2026-01-02")))
    assert recognised(orjson.dumps(answer("Ebb."))) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"error": {"message": "no"}},
        {"model": "tide-9-2026-01-02"},
        {"created": "1760000000"},
        {"created": 1760000000.5},
        {"usage": None},
        {"usage": {"prompt_tokens": 7}},
        {"usage": {"prompt_tokens": -7, "completion_tokens": 5, "total_tokens": 12, **DETAILS}},
        {"usage": {"prompt_tokens": 7.5, "completion_tokens": 5, "total_tokens": 12, **DETAILS}},
        {"usage": {"prompt_tokens": 10**12, "completion_tokens": 5, "total_tokens": 12, **DETAILS}},
        {"choices": []},
        {"choices": [*answer()["choices"], *answer()["choices"]]},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "length"}]},
    ],
    ids=str,
)
def test_any_other_difference_is_looked_at(other: Json) -> None:
    learn()
    assert recognised(orjson.dumps({**answer(), **other})) is None


@pytest.mark.parametrize("text", [None, [], {"a": "b"}])
def test_what_is_no_text_is_looked_at(text: Any) -> None:
    learn()
    assert recognised(orjson.dumps(answer(text))) is None


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(b":12", b":012"), (b":12", b":"), (b"High", b"Hi\x00h"), (b"High", b"Hi\\qh"), (b"High", b"Hi\xffh")],
)
def test_what_only_looks_like_json_is_never_handed_on(right: bytes, wrong: bytes) -> None:
    learn()
    broken = orjson.dumps(answer()).replace(right, wrong, 1)
    assert recognised(broken) is None
    with pytest.raises(UpstreamError):
        whole(UpstreamReply(200, (), broken))


@given(text=st.text(), id=st.text(max_size=8), counts=st.tuples(*[st.integers(0, 10**10)] * 5))
def test_what_is_known_again_is_read_as_a_full_look_would_read_it(
    text: str, id: str, counts: tuple[int, int, int, int, int]
) -> None:
    learn()
    prompt, completion, total, cached, reasoning = counts
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    usage |= {"prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0}}
    usage |= {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    raw = orjson.dumps(answer(text, id, usage))
    assert recognised(raw) in (None, looked_at(raw))


@given(chance=st.data())
def test_no_damage_to_an_answer_goes_unseen(chance: st.DataObject) -> None:
    learn()
    raw = orjson.dumps(answer())
    at = chance.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:at] + chance.draw(st.binary(max_size=3)) + raw[at + chance.draw(st.integers(0, 3)) :]
    assert recognised(damaged) in (None, looked_at(damaged))


def test_an_answer_without_counts_makes_no_mould() -> None:
    raw = orjson.dumps({name: value for name, value in answer(model="uncounted").items() if name != "usage"})
    for _ in range(2):
        remember(Whole(raw, None, 11))
    assert recognised(raw) is None


def test_only_the_latest_are_remembered() -> None:
    for length in range(2 * MOST_PLACES):
        meet_twice(orjson.dumps(answer(model="x" * length)))
    assert recognised(orjson.dumps(answer(model="x" * 5))) is None
    assert recognised(orjson.dumps(answer(model="x" * (2 * MOST_PLACES - 1)))) is not None


def test_no_mould_is_made_for_an_answer_unlike_all_before() -> None:
    """To make one takes as long as to read thirty answers, and some servers say something random in each."""
    raws = [orjson.dumps(answer(model="traced", trace=chr(ord("a") + turn) * 8)) for turn in range(20)]
    for raw in raws:
        whole(UpstreamReply(200, (), raw))
    assert [recognised(raw) for raw in raws] == [None] * 20


def test_moulds_that_never_fit_are_made_ever_more_seldom() -> None:
    raws = [orjson.dumps(answer(model="numbered", system_fingerprint=f"fp_{turn:04d}")) for turn in range(64)]
    made = 0
    for raw in raws:
        whole(UpstreamReply(200, (), raw))
        made += recognised(raw) is not None
    assert made == 6  # at the 2nd, 4th, 8th ...
