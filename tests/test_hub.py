"""What a request asks for beside its messages, as every grammar that is not OpenAI's reads it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects import hub
from gateway.dialects.hub import Choice, Format, Range, Tool


def call(**body: Any) -> Call:
    return Call("1", "chat", "m", stream=False, include_usage=False, body={"model": "m", "messages": [], **body})


def target(**defaults: Any) -> Target:
    return Target("p", "upstream-m", {}, defaults=defaults)


# The body.


def test_a_default_is_filled_in_where_the_client_said_nothing() -> None:
    wanted = hub.wanted(call(top_p=None, seed=7), target(top_p=0.5, seed=1, stop=["x"]))
    assert (wanted["top_p"], wanted["seed"], wanted["stop"]) == (0.5, 7, ["x"])


@pytest.mark.parametrize(
    ("asked", "default"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_default_bound_yields_to_the_clients_by_its_other_name(asked: str, default: str) -> None:
    wanted = hub.wanted(call(**{asked: 5}), target(**{default: 9}))
    assert wanted[asked] == 5
    assert default not in wanted


def test_the_end_user_is_named_only_where_that_is_allowed() -> None:
    asking = call(user="ann", safety_identifier="ann")
    assert not {"user", "safety_identifier"} & hub.wanted(asking, target()).keys()
    assert {"user", "safety_identifier"} <= hub.wanted(asking, replace(target(), send_user_id=True)).keys()
    assert asking.body["user"] == "ann"


def test_what_has_no_translation_is_named() -> None:
    body = call(seed=1, logit_bias={"1": 2}, temperature=0.5, top_k=3, user=None).body
    assert hub.dropped(body, frozenset({"temperature"})) == ("logit_bias", "seed")


def test_what_asks_for_nothing_special_is_not_named_when_it_is_left_out() -> None:
    asked = {name: value for name, (value, *_) in hub.UNFELT.items()}
    assert hub.dropped(call(**asked, stream=True, stream_options={}).body, frozenset()) == ()


def test_what_openai_does_not_have_is_the_providers_own() -> None:
    assert hub.private(call(top_k=3, thinking=None, seed=1).body) == {"top_k": 3}


NAMES = st.sampled_from(sorted(hub.OPENAI_FIELDS | {"top_k", "thinking"}))
BODIES = st.dictionaries(NAMES, st.none() | st.integers(0, 2) | st.booleans() | st.text(max_size=2))


@given(BODIES, st.frozensets(NAMES))
def test_every_field_is_translated_or_named_or_passed_on(body: Json, translated: frozenset[str]) -> None:
    body = {**body, "messages": []}
    named, passed = set(hub.dropped(body, translated)), hub.private(body).keys()
    assert not named & translated
    assert not named & passed
    silent = body.keys() - named - passed - translated - hub.ALWAYS_READ
    assert all(body[name] is None or body[name] in hub.UNFELT[name] for name in silent)


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 0}, None),
        ({"max_completion_tokens": 5}, 5),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
        ({"max_completion_tokens": None, "max_tokens": 9}, 9),
    ],
)
def test_the_bound_on_the_output_has_two_names(body: Json, bound: int | None) -> None:
    assert hub.max_tokens(body) == bound


@pytest.mark.parametrize(("stop", "texts"), [(None, []), ("x", ["x"]), (["x", "y"], ["x", "y"]), ([], [])])
def test_stops_are_a_list(stop: str | list[str] | None, texts: list[str]) -> None:
    assert hub.stops({"stop": stop}) == texts


# Tools.

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
LOOK: Json = {"type": "function", "function": {"name": "look", "parameters": SCHEMA, "strict": True}}
LISTEN: Json = {"type": "function", "function": {"name": "listen", "description": "Hear."}, "cache_control": {"x": 1}}


def test_tools_are_read_with_what_they_leave_out_filled_in() -> None:
    asked = hub.tools({"tools": [LOOK, LISTEN], "parallel_tool_calls": False})
    assert asked.tools == (
        Tool("look", "", SCHEMA, True, {}),
        Tool("listen", "Hear.", {"type": "object", "properties": {}}, False, {"cache_control": {"x": 1}}),
    )
    assert asked.choice is None
    assert asked.parallel is False


def test_legacy_functions_are_tools() -> None:
    body = {"functions": [LOOK["function"]], "function_call": {"name": "look"}}
    assert hub.tools(body) == hub.Tools((Tool("look", "", SCHEMA, True, {}),), Choice("named", "look"), None)


def test_a_request_without_tools_has_none() -> None:
    assert hub.tools({"tools": None}) == hub.NO_TOOLS


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        (None, None),
        ("auto", Choice("auto")),
        ("none", Choice("none")),
        ("required", Choice("required")),
        ({"type": "function", "function": {"name": "look"}}, Choice("named", "look")),
        ({"type": "tool", "name": "look"}, Choice("named", "look")),
    ],
)
def test_a_choice_is_a_mode_or_a_name(chosen: Any, meant: Choice | None) -> None:
    assert hub.tools({"tools": [LOOK], "tool_choice": chosen}).choice == meant


def test_a_choice_that_is_null_leaves_the_legacy_one() -> None:
    body = {"tools": [LOOK], "tool_choice": None, "function_call": "none"}
    assert hub.tools(body).choice == Choice("none")


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_only_allowed_tools_are_offered(mode: str) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "listen"}}, {"type": "mcp"}]}
    body = {"tools": [LOOK, LISTEN], "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
    offered = hub.tools(body)
    assert [tool.name for tool in offered.tools] == ["listen"]
    assert offered.choice == Choice("required" if mode == "required" else "auto")


@pytest.mark.parametrize("chosen", [{"type": "function", "function": {"name": "sing"}}, "any", {}, {"type": "custom"}])
def test_the_choice_of_what_is_not_there_is_refused(chosen: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        hub.tools({"tools": [LOOK], "tool_choice": chosen})
    assert refused.value.param == "tool_choice"


def test_a_tool_that_is_no_function_is_refused_with_its_place() -> None:
    with pytest.raises(Unsupported) as refused:
        hub.tools({"tools": [LOOK, {"type": "custom", "custom": {"name": "sing"}}]})
    assert refused.value.param == "tools[1]"


# The form of the answer.


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Format(None)),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, Format(SCHEMA)),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "strict": True, "schema": SCHEMA}},
            Format(SCHEMA, "n", "d", True),
        ),
    ],
)
def test_a_format_is_text_or_json_or_a_schema(asked: Json | None, meant: Format | None) -> None:
    assert hub.response_format({"response_format": asked}) == meant


@pytest.mark.parametrize(
    "asked", [{"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}]
)
def test_a_format_that_nobody_knows_is_refused(asked: Json) -> None:
    with pytest.raises(InvalidRequest) as refused:
        hub.response_format({"response_format": asked})
    assert refused.value.param == "response_format"


# Numbers, ids and names.

RANGES = {"temperature": Range("temperature", 0, 1), "top_p": Range("p", 0.01, 0.99)}


@pytest.mark.parametrize(
    ("body", "numbers", "moved"),
    [
        ({}, {}, ()),
        ({"temperature": None}, {}, ()),
        ({"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "p": 0.5}, ()),
        ({"temperature": 2, "top_p": 1}, {"temperature": 1, "p": 0.99}, ("temperature",)),
        ({"top_p": 0}, {"p": 0.01}, ()),
    ],
)
def test_a_number_is_moved_into_range_and_named_where_that_is_felt(
    body: Json, numbers: Json, moved: tuple[str, ...]
) -> None:
    assert hub.within(body, RANGES) == (numbers, moved)


PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@given(st.text(max_size=80), st.integers(1, 64))
def test_a_name_fits_and_is_always_the_same(name: str, length: int) -> None:
    made = hub.fitting(name, PLAIN, length)
    assert PLAIN.fullmatch(made)
    assert len(made) <= length
    assert hub.fitting(name, PLAIN, length) == made


@given(st.from_regex(PLAIN, fullmatch=True).filter(lambda name: len(name) <= 64))
def test_a_name_that_fits_is_left_alone(name: str) -> None:
    assert hub.fitting(name, PLAIN, 64) == name


@given(st.sets(st.text(max_size=80), min_size=2))
def test_different_names_stay_different(names: set[str]) -> None:
    assert len({hub.fitting(name, PLAIN, 64) for name in names}) == len(names)


def test_the_names_of_participants_are_named_as_lost() -> None:
    body = {"messages": [{"role": "user", "name": "ann", "content": "Hello"}]}
    assert hub.dropped(body, frozenset()) == ("messages.name",)


def test_the_name_of_a_function_is_not_that_of_a_participant() -> None:
    assert (
        hub.dropped({"messages": [{"role": "function", "name": "tide_table", "content": "04:12"}]}, frozenset()) == ()
    )
