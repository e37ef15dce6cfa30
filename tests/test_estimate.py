"""How much a call is likely to use, and has used whose provider did not say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from gateway.core.call import Call, Target
from gateway.core.events import Usage
from gateway.policy import estimate
from gateway.policy.cost import MOST_TOKENS
from gateway.policy.estimate import ATTACHMENT, ENOUGH, MOST_OUTPUT, MOST_TARGETS, SAMPLED, UNKNOWN_OUTPUT, Estimates
from gateway.policy.learnt import RECENT, Line, Recent


def call(size: int = 400, endpoint: str = "chat", **body: Any) -> Call:
    return Call("id", endpoint, "m", True, False, body, size)


def target(model: str = "m", **facts: Any) -> Target:
    return Target("p", model, {}, **facts)


def taught(*usages: Usage, size: int = 400, carried: int = 0, **body: Any) -> Estimates:
    """What is known after such calls."""
    estimates = Estimates()
    for usage in usages:
        estimates.learn(call(size, **body), target(), usage, carried)
    return estimates


# Ahead of a call


def test_of_an_unknown_model_four_bytes_are_a_token_and_an_answer_has_1024() -> None:
    assert Estimates().ahead(call(400), target()) == Usage(100, UNKNOWN_OUTPUT)


def test_a_model_with_more_tokens_to_a_byte_is_found_out() -> None:
    found = taught(*[Usage(300, 10)] * 30).ahead(call(400), target())
    assert 290 <= found.input <= 300


def test_what_a_provider_adds_to_each_prompt_is_not_multiplied_for_a_longer_one() -> None:
    estimates = Estimates()
    for size in [200, 800, 400, 1200] * 20:
        estimates.learn(call(size), target(), Usage(500 + size // 4, 10))
    assert estimates.ahead(call(40_000), target()).input == pytest.approx(10_500, rel=0.03)


def test_one_model_says_nothing_of_another() -> None:
    estimates = taught(*[Usage(300, 10)] * 30)
    assert estimates.ahead(call(400), target("other")) == Usage(100, UNKNOWN_OUTPUT)


def test_a_model_that_counts_otherwise_from_today_is_learnt_anew() -> None:
    estimates = taught(*[Usage(100, 10)] * 500)
    for _ in range(60 * SAMPLED):
        estimates.learn(call(400), target(), Usage(200, 10))
    assert estimates.ahead(call(400), target()).input >= 190


def test_one_absurd_count_does_not_spoil_the_next_estimates() -> None:
    estimates = taught(*[Usage(100, 10)] * 50, Usage(10**9, 10))
    assert estimates.ahead(call(400), target()).input < 200


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_clients_own_bound_counts_even_where_answers_are_short(field: str) -> None:
    estimates = taught(*[Usage(100, 10)] * 30)
    assert estimates.ahead(replace(call(), body={field: 3000}), target()).output == 3000


def test_the_newer_of_the_two_bounds_counts_first() -> None:
    assert Estimates().ahead(call(max_tokens=7, max_completion_tokens=9), target()).output == 9


def test_a_bound_of_the_configuration_counts_where_the_client_has_none() -> None:
    bounded = target(defaults={"max_tokens": 50})
    assert Estimates().ahead(call(), bounded).output == 50
    assert Estimates().ahead(call(max_tokens=60), bounded).output == 60


def test_no_answer_is_longer_than_the_model_can_make_it() -> None:
    assert Estimates().ahead(call(max_tokens=10**12), target(context=8192)).output == 8192
    assert Estimates().ahead(call(max_tokens=10**12), target()).output == MOST_OUTPUT


def test_each_of_several_choices_may_be_as_long() -> None:
    assert Estimates().ahead(call(n=3, max_tokens=100), target()).output == 300
    assert Estimates().ahead(call(n=2), target()).output == 2 * UNKNOWN_OUTPUT


@pytest.mark.parametrize("value", [0, -5, math.nan, -math.inf, True, "9", None, [], {}])
def test_a_bound_that_is_no_bound_is_none(value: Any) -> None:
    assert Estimates().ahead(call(max_tokens=value, n=value), target()).output == UNKNOWN_OUTPUT


def test_a_fraction_counts_as_the_next_whole() -> None:
    assert Estimates().ahead(call(max_tokens=10.2), target()).output == 11
    assert Estimates().ahead(call(max_tokens=math.inf), target()).output == MOST_OUTPUT


def test_an_answer_is_taken_to_be_as_long_as_all_but_the_longest_were() -> None:
    lengths = [*range(1, 101)]
    assert taught(*(Usage(100, length) for length in lengths)).ahead(call(), target()).output == 95


def test_a_few_answers_say_nothing_of_the_next() -> None:
    few = taught(*[Usage(100, 10)] * (ENOUGH - 1))
    assert few.ahead(call(), target()).output == UNKNOWN_OUTPUT
    few.learn(call(), target(), Usage(100, 10))
    assert few.ahead(call(), target()).output == 10


def test_lengths_are_learnt_by_the_choice() -> None:
    estimates = taught(*[Usage(100, 30)] * ENOUGH, n=3)
    assert estimates.ahead(call(n=2), target()).output == 20


def test_an_embedding_has_no_answer() -> None:
    assert Estimates().ahead(call(400, "embeddings", input="x"), target()) == Usage(100)


# Attachments


def image(size: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}


def said(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def test_the_bytes_of_an_image_are_no_words() -> None:
    small, large = (call(size + 500, messages=said(image(size))) for size in (10, 4_000_000))
    assert Estimates().ahead(small, target()) == Estimates().ahead(large, target())
    assert Estimates().ahead(large, target()).input == pytest.approx(ATTACHMENT + 120, abs=10)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "image_url", "image_url": "https://a.example/b.png"},
        {"type": "input_audio", "input_audio": {"data": "A" * 99, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 99, "filename": "x.pdf"}},
    ],
)
def test_every_attachment_counts_the_same(part: dict[str, Any]) -> None:
    assert estimate.weigh(call(1000, messages=said(part, part)))[1] == 2


def test_a_call_with_an_attachment_teaches_nothing_about_words() -> None:
    taught_by_images = taught(*[Usage(9000, 10)] * 30, messages=said(image(9)))
    assert taught_by_images.ahead(call(400), target()).input == 100


def test_text_is_no_attachment() -> None:
    assert estimate.weigh(call(100, messages=said())) == (100, 0)


# After a call that was cut


def test_a_call_that_was_cut_has_used_its_prompt_and_what_was_carried() -> None:
    assert Estimates().cut(call(400), target(), 40) == Usage(100, 10)


def test_what_was_cut_is_counted_as_the_model_counts() -> None:
    estimates = taught(*[Usage(100, 80)] * 40, carried=100)
    assert estimates.cut(call(400), target(), 100).output == pytest.approx(80, abs=2)


def test_thoughts_that_a_model_does_not_show_are_counted_once_however_long_its_answer() -> None:
    estimates = Estimates()
    for words in [400, 4000, 1200, 8000] * 20:
        estimates.learn(call(), target(), Usage(100, 600 + words // 4), words)
    assert estimates.cut(call(), target(), 20_000).output == pytest.approx(5600, rel=0.05)


def test_nothing_carried_is_nothing_answered() -> None:
    assert taught(*[Usage(100, 80)] * 40, carried=100).cut(call(), target(), 0).output == 0


def test_what_a_provider_had_said_before_the_cut_counts_for_more_than_an_estimate() -> None:
    told = Usage(70, 1, cache_read=50)
    assert Estimates().cut(call(400), target(), 40, told) == Usage(70, 10, cache_read=50)
    assert Estimates().cut(call(400), target(), 40, Usage(70, 30)) == Usage(70, 30)


def test_an_answer_that_came_whole_says_nothing_of_the_characters_of_a_stream() -> None:
    estimates = Estimates()
    for _ in range(40):
        estimates.learn(replace(call(), stream=False), target(), Usage(100, 80), 5000)
    assert estimates.cut(call(), target(), 40).output == 10


# Whatever is said

numbers = st.integers(-(10**20), 10**20) | st.floats() | st.none() | st.booleans() | st.text(max_size=3)
parts = st.dictionaries(st.sampled_from(["type", "text", "image_url", "x"]), numbers | st.just({"url": "u"}))
bodies = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": numbers,
        "max_completion_tokens": numbers,
        "n": numbers,
        "messages": numbers | st.lists(numbers | st.fixed_dictionaries({"content": numbers | st.lists(parts)})),
    },
)
wild = st.builds(Usage, *(st.integers(-(10**20), 10**20) for _ in range(5)))


@given(st.lists(st.tuples(st.integers(0, 10**9), wild, st.integers(-9, 10**9)), max_size=40), bodies)
def test_whatever_was_heard_every_estimate_is_a_count(heard: list[tuple[int, Usage, int]], body: Any) -> None:
    estimates = Estimates()
    for size, usage, carried in heard:
        estimates.learn(call(size), target(), usage, carried)
    asked = call(700, **body)
    for found in (estimates.ahead(asked, target()), estimates.cut(asked, target(), 700)):
        assert all(type(count) is int and 0 <= count <= MOST_TOKENS for count in astuple(found))
        assert found.input >= 1


def test_no_client_can_make_it_remember_without_end() -> None:
    estimates = Estimates()
    for number in range(MOST_TARGETS + 50):
        estimates.ahead(call(), target(f"asked-{number}"))
        estimates.learn(call(), target(f"m-{number}"), Usage(300, 10))
    assert len(estimates) == MOST_TARGETS


def test_a_model_in_use_is_not_forgotten_for_new_ones() -> None:
    estimates = taught(*[Usage(300, 10)] * 30)
    for number in range(2 * MOST_TARGETS):
        estimates.learn(call(), target(f"m-{number}"), Usage(100, 10))
        estimates.learn(call(), target(), Usage(300, 10))
    assert estimates.ahead(call(400), target()).input >= 290


# What is learnt


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3 * RECENT), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_that_of_the_latest_amounts(amounts: list[int], share: float) -> None:
    recent = Recent()
    for amount in amounts:
        recent.learn(amount)
    latest = sorted(amounts[-RECENT:])
    assert len(recent) == len(latest)
    assert recent.quantile(share) == latest[max(0, math.ceil(share * len(latest)) - 1)]


def test_of_older_amounts_nothing_is_left() -> None:
    recent = Recent()
    for amount in [9_000] * RECENT + [*range(RECENT)]:
        recent.learn(amount)
    assert (len(recent), recent.quantile(0.0), recent.quantile(1.0)) == (RECENT, 0, RECENT - 1)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=60), st.integers(0, 10**9))
def test_a_line_is_never_below_nothing(pairs: list[tuple[int, int]], size: int) -> None:
    line = Line(0.25)
    for pair in pairs:
        line.learn(*pair)
    assert line.at(size) >= min(size, 1)


def test_what_is_reported_of_plain_proportion_is_found_again() -> None:
    line = Line(0.25)
    for size in [100, 2000, 40_000] * 30:
        line.learn(size, size // 2)
    assert line.at(10_000) == pytest.approx(5000, rel=0.05)
