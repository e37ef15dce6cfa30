"""What servers that differ from OpenAI's are sent instead, and what is lost by it."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.vendors.quirks import QUIRKS

MESSAGES: list[Json] = [{"role": "user", "content": "Hello"}]

max_tokens_only = QUIRKS["max_tokens_only"]
system_role_only = QUIRKS["system_role_only"]
no_stream_options = QUIRKS["no_stream_options"]
no_logprobs = QUIRKS["no_logprobs"]
no_cache_marks = QUIRKS["no_cache_marks"]


def test_marks_for_a_cache_are_left_out_wherever_they_stand_and_named() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    tool = {"type": "function", "function": {"name": "tide_table"}}
    marked = {
        "messages": [
            {"role": "system", "content": "Be brief.", **mark},
            {"role": "user", "content": [{"type": "text", "text": "Hello", **mark}]},
            *MESSAGES,
        ],
        "tools": [{**tool, **mark}],
    }
    bare = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        *MESSAGES,
    ]
    assert no_cache_marks(marked) == ({"messages": bare, "tools": [tool]}, ("cache_control",))


def test_a_request_without_marks_goes_out_as_it_is() -> None:
    body: Json = {"messages": MESSAGES}
    assert no_cache_marks(body)[0] is body


def test_the_new_bound_is_sent_under_the_old_name() -> None:
    assert max_tokens_only({"max_completion_tokens": 5, "seed": 1}) == ({"seed": 1, "max_tokens": 5}, ())


def test_the_old_bound_stays() -> None:
    assert max_tokens_only({"max_tokens": 5}) == ({"max_tokens": 5}, ())
    assert max_tokens_only({"max_tokens": 5, "max_completion_tokens": None})[0]["max_tokens"] == 5


@pytest.mark.parametrize(("old", "lost"), [(5, ()), (None, ()), (6, ("max_tokens",))])
def test_of_two_bounds_the_new_one_holds(old: int | None, lost: tuple[str, ...]) -> None:
    assert max_tokens_only({"max_tokens": old, "max_completion_tokens": 5}) == ({"max_tokens": 5}, lost)


def test_a_developers_message_is_sent_as_the_systems() -> None:
    body: Json = {"messages": [{"role": "developer", "content": "Be brief.", "name": "a"}, *MESSAGES]}
    changed, lost = system_role_only(body)
    assert changed == {"messages": [{"role": "system", "content": "Be brief.", "name": "a"}, *MESSAGES]}
    assert lost == ()


@pytest.mark.parametrize(
    ("options", "lost"),
    [({"include_usage": True}, ()), (None, ()), ({"include_obfuscation": False}, ("stream_options",))],
)
def test_stream_options_are_left_out_and_their_loss_told(options: Json | None, lost: tuple[str, ...]) -> None:
    assert no_stream_options({"stream": True, "stream_options": options}) == ({"stream": True}, lost)


def test_log_probabilities_are_left_out_and_their_loss_told() -> None:
    body: Json = {"logprobs": True, "top_logprobs": 2, "logit_bias": None, "seed": 1}
    assert no_logprobs(body) == ({"seed": 1}, ("logprobs", "top_logprobs"))


@pytest.mark.parametrize("name", QUIRKS)
def test_a_plain_request_is_not_changed(name: str) -> None:
    assert QUIRKS[name]({"messages": MESSAGES, "seed": 1}) == ({"messages": MESSAGES, "seed": 1}, ())


BODIES = st.fixed_dictionaries(
    {
        "messages": st.lists(st.builds(lambda role: {"role": role}, st.sampled_from(["developer", "user", "tool"]))),
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
        "response_format": st.just({"type": "json_object"}),
    },
    optional={
        "max_tokens": st.none() | st.integers(),
        "max_completion_tokens": st.none() | st.integers(),
        "stream_options": st.none() | st.dictionaries(st.text(max_size=2), st.booleans()),
        "logprobs": st.none() | st.booleans(),
    },
)


@given(st.sampled_from(list(QUIRKS)), BODIES)
def test_no_quirk_edits_the_body_it_is_given_or_loses_what_was_asked(name: str, body: Json) -> None:
    before = copy.deepcopy(body)
    changed, _ = QUIRKS[name](body)
    assert body == before
    assert changed["tools"] == body["tools"]
    assert changed["response_format"] == body["response_format"]
    assert len(changed["messages"]) == len(body["messages"])


@given(st.sampled_from(list(QUIRKS)), BODIES)
def test_a_quirk_has_nothing_left_to_do_the_second_time(name: str, body: Json) -> None:
    once, _ = QUIRKS[name](body)
    assert QUIRKS[name](once) == (once, ())
