"""Reading what somebody wants of a key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.wanted import Unreadable, kept, settings, wanted
from gateway.config.resolve import loads
from gateway.config.snapshot import Budget, Key
from gateway.core.call import Limits

NOW = 1_800_000_000.0

DIGEST = bytes(32)

SNAPSHOT = loads(
    """
providers: {here: {type: echo, models: [free]}, openai: {type: openai, api_key: sk-0, models: [gpt-4o-mini]}}
models: {"claude-*": {targets: [{provider: openai, model: "claude-*"}]}}
aliases: {small: gpt-4o-mini}
""",
    name="g",
    environ={},
)

DISCOVERED = loads("providers: {openai: {type: openai, api_key: sk-0, models: discover}}", name="g", environ={})

AMOUNTS = st.integers(1, 10**9)
BUDGETS = st.builds(
    Budget,
    every=st.sampled_from(["hour", "day", "week", "month"]),
    usd_micros=st.integers(1, 10**15),
    tokens=st.none() | st.integers(1, 2**53 - 1),
)
KEYS = st.builds(
    Key,
    name=st.just("ci"),
    digest=st.just(DIGEST),
    models=st.lists(st.sampled_from(["a", "${b}", "$${c", "file", "~", "null", "no", "1e3", "x-*"])).map(tuple),
    priority=st.sampled_from(["low", "normal", "high"]),
    limits=st.builds(Limits, *[st.none() | AMOUNTS] * 3),
    budget=st.none() | BUDGETS,
)

WRONG = [
    ({"rpm": 5}, "rpm", "is not a field here"),
    ({"limits": {"rpm": 5}}, "limits.rpm", "is not a field here"),
    ({"limits": {"requests_per_minute": "many"}}, "limits.requests_per_minute", "`many` is not a count"),
    ({"limits": {"requests_per_minute": -1}}, "limits.requests_per_minute", "`-1` is not a count"),
    ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute", "must be at least 1"),
    ({"limits": {"requests_per_minute": True}}, "limits.requests_per_minute", "`true` is not a count"),
    ({"limits": {"tokens_per_minute": 1e300}}, "limits.tokens_per_minute", "`1e+300`"),
    ({"limits": [1]}, "limits", "must be a mapping"),
    ({"budget": {"usd": 5}}, "budget", "`every` is missing"),
    ({"budget": {"every": "day"}}, "budget", "has no amount"),
    ({"budget": {"usd": 0, "every": "day"}}, "budget.usd", "is not above 0"),
    ({"budget": {"usd": 5, "every": "year"}}, "budget.every", "must be hour, day, week or month"),
    ({"budget": {"usd": 5, "every": "day"}, "models": ["free"]}, "budget.usd", "`free` has no price that is known"),
    ({"models": "gpt-4o-mini"}, "models", "must be a list"),
    ({"models": ["gpt-4o-mni"]}, "models[0]", "there is no model `gpt-4o-mni` (did you mean `gpt-4o-mini`?)"),
    ({"models": [""]}, "models[0]", "is empty"),
    ({"models": [None]}, "models[0]", "is empty"),
    ({"models": [[["x"]]]}, "models[0]", "must be a single value"),
    ({"expires": "soon"}, "expires", "`soon` is not a date"),
    ({"expires": "2027-01-01"}, "expires", "`2027-01-01` is past"),
    ({"priority": "urgent"}, "priority", "must be low, normal or high"),
    ({"name": ""}, "name", "is empty"),
    ({"name": None}, "", "`name` is missing"),
    ({"name": "a*"}, "name", "cannot hold a *"),
    ({"name": "a\nb"}, "name", "is not a name"),
    ({"key": "sk-mine"}, "key", "cannot be given"),
    ({"sha256": "0" * 64}, "sha256", "cannot be given"),
]


@pytest.mark.parametrize(("asked", "path", "words"), WRONG, ids=[f"{path}: {words}" for _, path, words in WRONG])
def test_what_cannot_be_is_said_with_its_field(asked: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(Unreadable) as refused:
        wanted({"name": "ci", **asked}, DIGEST, SNAPSHOT, NOW)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert words in refused.value.faults[0].message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Unreadable) as refused:
        wanted({"limits": {"requests_per_minute": "x"}, "priority": "y", "models": ["z"]}, DIGEST, SNAPSHOT, NOW)
    assert len(refused.value.faults) == 4


def test_counts_are_read_as_people_write_them() -> None:
    asked = {"limits": {"tokens_per_minute": "1M", "requests_per_minute": 600}, "expires": "2030-01-01"}
    key = wanted({"name": "ci", **asked}, DIGEST, SNAPSHOT, NOW)
    assert (key.limits, key.expires) == (Limits(600, 1_000_000), 1_893_456_000.0)


def test_names_patterns_and_aliases_of_models_are_known() -> None:
    key = wanted({"name": "ci", "models": ["gpt-4o-mini", "claude-3", "small", "gpt-*"]}, DIGEST, SNAPSHOT, NOW)
    assert key.models == ("gpt-4o-mini", "claude-3", "small", "gpt-*")


def test_where_a_provider_says_what_there_is_any_model_may_be_named() -> None:
    key = wanted({"name": "ci", "models": ["o9"], "budget": {"usd": 1, "every": "day"}}, DIGEST, DISCOVERED, NOW)
    assert key.models == ("o9",)


def test_who_asks_for_a_key_cannot_read_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with pytest.raises(Unreadable) as refused:
        wanted({"name": f"file:{secret}"}, DIGEST, SNAPSHOT, NOW)
    assert "hunter2" not in str(refused.value)


def test_who_asks_for_a_key_cannot_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    assert wanted({"name": "${SECRET}"}, DIGEST, SNAPSHOT, NOW).name == "${SECRET}"


def test_nesting_without_end_is_refused_like_any_other_mistake() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Unreadable):
        wanted({"name": "ci", "models": deep}, DIGEST, SNAPSHOT, NOW)


@given(KEYS)
def test_what_is_kept_comes_back_as_it_was(key: Key) -> None:
    assert kept("ci", settings(key), DIGEST) == replace(key, expires=None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("name", "models", "limits", "budget", "expires", "priority")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_is_asked_for_it_is_a_key_or_a_complaint(asked: dict[str, Any]) -> None:
    told = ""
    try:
        told = wanted(asked, DIGEST, SNAPSHOT, NOW).name
    except Unreadable as error:
        told = str(error)
    assert told
