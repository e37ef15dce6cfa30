"""What the models behind the Messages API are asked for: bounds, thinking, sampling."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.call import Json
from gateway.core.errors import InvalidRequest
from gateway.dialects.claude_models import GENERATIONS, traits_of
from tests.test_anthropic_ask import ADAPTIVE, BUDGETED, ELDER, HELLO, NEWEST, asked, called, result, sent


def budget(tokens: int) -> Json:
    return {"type": "enabled", "budget_tokens": tokens}


# Output bounds.


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-2.1", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-opus-4-20250514", 32000),
        ("anthropic/claude-haiku-4.5", 32000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 32000),
        ("claude-opus-9", 32000),
        ("deepseek-chat", 8192),
    ],
)
def test_a_bound_is_always_sent_and_fits_the_model(model: str, bound: int) -> None:
    assert sent(model=model)["max_tokens"] == bound


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_client_sets_its_own_bound(name: str) -> None:
    fields: Json = {name: 7}
    assert sent(**fields)["max_tokens"] == 7


def test_generations_are_listed_newest_first() -> None:
    oldest = [generation for generation, _ in GENERATIONS]
    assert oldest == sorted(oldest, reverse=True)


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("claude-4-opus-20250514", "claude-opus-4-0"),
        ("anthropic/claude-sonnet-4.6", "claude-sonnet-4-6"),
        ("claude-mythos-preview", "claude-opus-5-5"),
    ],
)
def test_a_model_is_known_by_any_of_its_names(name: str, same_as: str) -> None:
    assert traits_of(name) == traits_of(same_as)


# Thinking.


@pytest.mark.parametrize(
    ("fields", "config", "bound"),
    [
        ({"reasoning_effort": "high"}, budget(12288), 32000),
        ({"reasoning_effort": "high", "max_tokens": 4000}, budget(2000), 4000),
        ({"reasoning_effort": "minimal", "max_tokens": 2048}, budget(1024), 2048),
        ({"reasoning_effort": "none"}, None, 32000),
        ({"thinking": budget(5000), "max_tokens": 1000}, budget(5000), 6000),
        ({"thinking": budget(40000)}, budget(40000), 72000),
    ],
)
def test_an_effort_is_a_budget_that_leaves_room_for_the_answer(fields: Json, config: Json | None, bound: int) -> None:
    body = sent(**fields)
    assert (body.get("thinking"), body["max_tokens"]) == (config, bound)


@pytest.mark.parametrize(
    ("model", "word", "effort"),
    [
        (ADAPTIVE, "minimal", "low"),
        (ADAPTIVE, "xhigh", "max"),
        ("claude-opus-4-7", "xhigh", "xhigh"),
        (NEWEST, "medium", "medium"),
    ],
)
def test_newer_models_take_an_effort(model: str, word: str, effort: str) -> None:
    body = sent(model=model, reasoning_effort=word)
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": effort})


def test_thinking_is_turned_off_where_it_can_be() -> None:
    assert sent(model="claude-opus-5", reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert "thinking" not in sent(model=ADAPTIVE, reasoning_effort="none")


@pytest.mark.parametrize("model", [NEWEST, "claude-fable-5"])
def test_where_thinking_cannot_be_turned_off_there_is_as_little_as_can_be(model: str) -> None:
    request = asked(model=model, reasoning_effort="none")
    assert orjson.loads(request.body)["output_config"] == {"effort": "low"}
    assert request.dropped == ("reasoning_effort",)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "claude-3-5-haiku-latest", "reasoning_effort": "high"},
        {"reasoning_effort": "high", "max_tokens": 500},
        {"reasoning_effort": "mighty"},
    ],
    ids=["no such model", "no room", "no such word"],
)
def test_an_effort_that_cannot_be_made_is_named(fields: Json) -> None:
    request = asked(**fields)
    assert request.dropped == ("reasoning_effort",)
    assert "thinking" not in orjson.loads(request.body)


def test_a_clients_own_thinking_passes() -> None:
    own = {"type": "adaptive", "display": "summarized"}
    body = sent(model=ADAPTIVE, thinking=own, reasoning_effort="high")
    assert (body["thinking"], body["output_config"]) == (own, {"effort": "high"})


@pytest.mark.parametrize("name", ["thinking", "output_config"])
def test_what_a_client_says_itself_of_thinking_must_be_an_object(name: str) -> None:
    fields: Json = {name: True}
    with pytest.raises(InvalidRequest) as refused:
        asked(**fields)
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"reasoning_effort": "low"}, "reasoning_effort"), ({"thinking": budget(1024)}, "thinking")],
)
def test_a_turn_that_has_lost_its_thoughts_is_gone_on_with_without_thinking(fields: Json, named: str) -> None:
    request = asked(HELLO, called(), result(), **fields)
    assert "thinking" not in orjson.loads(request.body)
    assert request.dropped == (named,)


def test_an_answer_that_is_to_be_continued_is_not_thought_about() -> None:
    request = asked(HELLO, {"role": "assistant", "content": "At 04:"}, reasoning_effort="low")
    assert request.dropped == ("reasoning_effort",)


def test_adaptive_thinking_does_not_mind_lost_thoughts() -> None:
    assert sent(HELLO, called(), result(), model=ADAPTIVE, reasoning_effort="low")["thinking"] == {"type": "adaptive"}


def test_a_later_question_may_be_thought_about_again() -> None:
    said = {"role": "assistant", "content": "At 04:12."}
    assert "thinking" in sent(HELLO, called(), result(), said, HELLO, reasoning_effort="low")


# Sampling.


@pytest.mark.parametrize(
    ("model", "fields", "taken", "dropped"),
    [
        (ELDER, {"temperature": 0.7, "top_p": 0.3}, {"temperature": 0.7, "top_p": 0.3}, ()),
        (BUDGETED, {"temperature": 0.7, "top_p": 0.3}, {"temperature": 0.7}, ("top_p",)),
        (BUDGETED, {"temperature": 1, "top_p": 0.3}, {"top_p": 0.3}, ()),
        (BUDGETED, {"temperature": 1.4}, {}, ("temperature",)),
        (BUDGETED, {"temperature": 0}, {"temperature": 0}, ()),
        (BUDGETED, {"temperature": 0, "top_p": 0.95, "reasoning_effort": "low"}, {"top_p": 0.95}, ("temperature",)),
        (BUDGETED, {"top_p": 0.5, "top_k": 3, "reasoning_effort": "low"}, {}, ("top_k", "top_p")),
        (NEWEST, {"temperature": 0.7, "top_p": 0.99, "top_k": 3}, {}, ("temperature", "top_k", "top_p")),
        (NEWEST, {"temperature": 1, "top_p": 1}, {}, ()),
    ],
)
def test_sampling_is_what_the_model_takes(model: str, fields: Json, taken: Json, dropped: tuple[str, ...]) -> None:
    request = asked(model=model, **fields)
    body = orjson.loads(request.body)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == taken
    assert request.dropped == dropped
