"""Keys that were made at run time, over those of the configuration."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from gateway.admin.overlay import merged, unreadable
from gateway.config.resolve import loads
from gateway.config.snapshot import Budget, Key, Snapshot
from gateway.core.call import Limits
from gateway.core.errors import Unauthorized
from gateway.core.virtual_key import VirtualKey
from gateway.policy.access import admit

NOW = 1_800_000_000.0

DECLARED, OLD, NEW = "a-key-of-the-file-1", "sk-old", "sk-new"

PROVIDERS = "providers: {here: {type: echo, models: [echo]}}\n"


@pytest.fixture
def open_to_all() -> Snapshot:
    return loads(PROVIDERS, name="g", environ={})


@pytest.fixture
def with_key() -> Snapshot:
    return loads(PROVIDERS + f"keys: [{{name: web-app, key: {DECLARED}}}]", name="g", environ={})


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


MADE = VirtualKey(name="ci", sha256=digest(NEW), shown="sk-new", created=NOW - 100)
ROTATED = replace(MADE, replaced_sha256=digest(OLD), replaced_until=NOW + 60)


def admitted(snapshot: Snapshot, key: str, now: float = NOW) -> Key | None:
    try:
        return admit(snapshot.keys, key.encode(), now)
    except Unauthorized:
        return None


def test_a_key_that_was_made_is_let_in_beside_those_of_the_file(with_key: Snapshot) -> None:
    both = merged(with_key, [MADE], NOW)
    assert [admitted(both, key).name for key in (NEW, DECLARED)] == ["ci", "web-app"]  # type: ignore[union-attr]
    assert admitted(both, "sk-other") is None


def test_it_has_the_limits_that_it_was_made_with(with_key: Snapshot) -> None:
    made = replace(
        MADE,
        expires=NOW + 5,
        settings={
            "models": ["gpt-*"],
            "limits": {"requests_per_minute": 600, "concurrent_requests": 4},
            "budget": {"usd": 0.25, "every": "week"},
            "priority": "low",
        },
    )
    assert admitted(merged(with_key, [made], NOW), NEW) == Key(
        name="ci",
        digest=bytes.fromhex(digest(NEW)),
        models=("gpt-*",),
        expires=NOW + 5,
        priority="low",
        limits=Limits(600, None, 4),
        budget=Budget("week", 250_000),
    )


def test_a_key_of_the_file_wins_over_one_of_the_same_name(with_key: Snapshot) -> None:
    both = merged(with_key, [replace(MADE, name="web-app")], NOW)
    assert both.keys == with_key.keys


@pytest.mark.parametrize("over", [{"expires": NOW}, {"revoked": NOW - 1}, {"revoked": NOW + 30}])
def test_a_key_that_is_over_is_left_out(with_key: Snapshot, over: dict[str, float]) -> None:
    assert merged(with_key, [replace(MADE, **over)], NOW).keys == with_key.keys  # type: ignore[arg-type]


def test_a_key_that_expires_later_is_refused_then_without_another_look(with_key: Snapshot) -> None:
    both = merged(with_key, [replace(MADE, expires=NOW + 10)], NOW)
    assert admitted(both, NEW, NOW + 9.9)
    assert not admitted(both, NEW, NOW + 10)


def test_a_rotated_key_is_valid_in_both_forms_until_the_overlap_is_over(with_key: Snapshot) -> None:
    both = merged(with_key, [ROTATED], NOW)
    assert [bool(admitted(both, key, NOW + 59)) for key in (OLD, NEW)] == [True, True]
    assert [bool(admitted(both, key, NOW + 60)) for key in (OLD, NEW)] == [False, True]
    later = merged(with_key, [ROTATED], NOW + 60)
    assert bytes.fromhex(digest(OLD)) not in later.keys


def test_both_forms_count_as_one_key(with_key: Snapshot) -> None:
    made = replace(ROTATED, settings={"limits": {"requests_per_minute": 600}})
    old, new = (admitted(merged(with_key, [made], NOW), key) for key in (OLD, NEW))
    assert old is not None
    assert new is not None
    assert (old.name, old.limits) == (new.name, new.limits)


def test_an_overlap_does_not_outlast_the_key(with_key: Snapshot) -> None:
    both = merged(with_key, [replace(ROTATED, expires=NOW + 10)], NOW)
    assert not admitted(both, OLD, NOW + 10)


def test_revoking_ends_both_forms(with_key: Snapshot) -> None:
    assert merged(with_key, [replace(ROTATED, revoked=NOW)], NOW).keys == with_key.keys


def test_without_any_key_everyone_may_still_call(open_to_all: Snapshot) -> None:
    assert merged(open_to_all, [], NOW).keys == {}


@pytest.mark.parametrize(
    "over", [{"expires": NOW - 1}, {"revoked": NOW - 1}, {"revoked": NOW + 30}, {"settings": {"later": 1}}]
)
def test_when_the_last_key_is_over_nobody_may_call(open_to_all: Snapshot, over: dict[str, object]) -> None:
    shut = merged(open_to_all, [replace(MADE, **over)], NOW)  # type: ignore[arg-type]
    assert admitted(shut, NEW) is None
    assert admitted(shut, "") is None


def test_a_key_whose_settings_are_of_a_later_program_is_refused_and_told_of(with_key: Snapshot) -> None:
    made = replace(MADE, settings={"models": ["gpt-*"], "only_from": "10.0.0.0/8"})
    assert admitted(merged(with_key, [made], NOW), NEW) is None
    assert unreadable([MADE, made]) == {"ci": "only_from: is not a field here"}


def test_a_model_that_has_left_the_configuration_does_not_end_a_key(with_key: Snapshot) -> None:
    made = replace(MADE, settings={"models": ["gone", "echo"]})
    assert admitted(merged(with_key, [made], NOW), NEW)


def test_the_rest_of_the_configuration_stays_as_it_is(with_key: Snapshot) -> None:
    both = merged(with_key, [MADE], NOW)
    assert replace(both, keys={}) == replace(with_key, keys={})
