"""LiteLLM's keys, as its database exports them, become ours and can do no more than before."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admin.overlay import key_of
from gateway.config.complaints import ConfigError
from gateway.core.call import Limits
from gateway.migrate.keys import Brought, against, read

NOW = 1_800_000_000.0
DIGEST = sha256(b"sk-the-key-of-a-client-0001").hexdigest()


def brought(**columns: Any) -> Brought:
    row = {"token": DIGEST, "key_alias": "web-app", "models": ["gpt-4o"], **columns}
    return read(orjson.dumps(row).decode(), "keys.jsonl", NOW)


def told(found: Brought) -> list[str]:
    return [f"{line.verdict}: {line.path}: {line.message}" for line in found.report]


def test_a_key_is_known_by_the_hash_that_litellm_has_of_it() -> None:
    (key,) = brought().keys
    assert (key.name, key.sha256) == ("web-app", DIGEST)
    assert key_of(key).models == ("gpt-4o",)


def test_limits_budget_and_expiry_come_along() -> None:
    (made,) = brought(
        rpm_limit=600, tpm_limit=1_000_000, max_parallel_requests=40, max_budget=50.0, budget_duration="1d",
        expires="2030-01-01T00:00:00",
    ).keys  # fmt: skip
    key = key_of(made)
    assert key.limits == Limits(600, 1_000_000, 40)
    assert key.budget is not None
    assert (key.budget.every, key.budget.usd_micros) == ("day", 50_000_000)
    assert key.expires == 1_893_456_000


@pytest.mark.parametrize(
    ("duration", "every", "usd"),
    [
        *(("1h", "hour", 70), ("7d", "week", 70), ("1w", "week", 70), ("30d", "month", 70), ("1mo", "month", 70)),
        *(("14d", "week", 35), ("2d", "day", 35), ("60d", "month", 35), ("30m", "hour", 140)),
    ],
)
def test_a_budgets_window_is_one_of_the_calendar(duration: str, every: str, usd: int) -> None:
    (made,) = brought(max_budget=70, budget_duration=duration).keys
    budget = key_of(made).budget
    assert budget is not None
    assert (budget.every, budget.usd_micros) == (every, usd * 1_000_000)


def test_of_a_budget_that_is_never_full_again_the_rest_is_given() -> None:
    found = brought(max_budget=10, spend=7.5)
    assert found.keys[0].settings["budget"] == {"usd": 2.5, "every": "month"}
    assert any("what is left of it" in line for line in told(found))
    (spent,) = brought(max_budget=10, spend=12).keys
    assert spent.settings["budget"]["usd"] <= 0.000001


def test_a_blocked_key_is_revoked() -> None:
    (key,) = brought(blocked=True).keys
    assert key.revoked == NOW


def test_the_models_of_a_team_are_taken_where_the_export_has_them() -> None:
    (key,) = brought(models=[], team_id="t", team_models=["gpt-4o", "claude"]).keys
    assert key_of(key).models == ("gpt-4o", "claude")
    (key,) = brought(models=["all-team-models"], team_id="t", team_models=[]).keys
    assert key_of(key).models == ()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"models": [], "team_id": "t"}, "its models are those of its team"),
        ({"budget_id": "b"}, "its limits are those of its budget"),
        ({"models": ["no-default-models"]}, "may use no model"),
        ({"allowed_routes": ["management_routes"]}, "for managing LiteLLM"),
        ({"team_id": "litellm-dashboard"}, "LiteLLM's own pages"),
        ({"max_budget": "much"}, "max_budget is not a number"),
        ({"rpm_limit": 0}, "rpm_limit must be at least 1"),
        ({"budget_duration": "fortnight", "max_budget": 1}, "budget_duration is no time"),
        ({"expires": "soon"}, "expires is not a time"),
        ({"models": ["a*b*"]}, "holds more than one *"),
    ],
)
def test_a_key_that_could_do_more_here_or_makes_no_sense_is_refused(columns: dict[str, Any], why: str) -> None:
    found = brought(**columns)
    assert found.keys == ()
    (line,) = [line for line in found.report if line.verdict == "refused"]
    assert why in line.message


def test_what_is_not_kept_of_a_key_is_told() -> None:
    found = brought(metadata={"team": "x"}, model_max_budget={"gpt-4o": 1}, aliases={}, permissions={})
    assert [line.partition(": ")[0] for line in told(found)].count("unsupported") == 2


def test_keys_without_a_usable_name_get_one_and_no_two_the_same() -> None:
    lines = [{"token": sha256(bytes([n])).hexdigest(), "models": ["m"], "key_alias": alias} for n, alias in enumerate(
        [None, "same", "same", "with\nbreak"]
    )]  # fmt: skip
    found = read("\n".join(orjson.dumps(line).decode() for line in lines), "k", NOW)
    names = [key.name for key in found.keys]
    assert names[1] == "same"
    assert len(set(names)) == 4
    assert names == [key.name for key in read("\n".join(orjson.dumps(line).decode() for line in lines), "k", NOW).keys]


def test_csv_as_postgresql_writes_it_is_read() -> None:
    text = (
        "token,key_alias,models,max_budget,budget_duration,blocked,metadata\n"
        f'{DIGEST},web-app,"{{gpt-4o,""claude *""}}",50,7d,f,"{{""a"": ""b,\nc""}}"\n'
    )
    (key,) = read(text, "keys.csv", NOW).keys
    assert key_of(key).models == ("gpt-4o", "claude *")
    assert key.settings["budget"] == {"usd": 50, "every": "week"}
    assert key.revoked is None


def test_a_key_in_clear_is_hashed_and_never_told() -> None:
    found = brought(token="my-own-key-canary-1", key_alias=None)
    assert found.keys[0].sha256 == sha256(b"my-own-key-canary-1").hexdigest()
    assert "canary" not in "".join(told(found)) + repr(found)


def test_a_second_time_adds_nothing() -> None:
    first = against(brought(), [], [])
    assert [key.name for key in first.new] == ["web-app"]
    again = against(brought(), first.new, [])
    assert again.new == ()
    assert any("is there already" in line.message for line in again.report)


def test_a_name_of_somebody_elses_is_not_taken() -> None:
    (other,) = brought(token=sha256(b"another").hexdigest()).keys
    for there, declared in (([other], []), ([], ["web-app"])):
        found = against(brought(), there, declared)
        assert found.new == ()
        assert found.report[-1].verdict == "refused"


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}', "a,b\n1,2\n", 'token\n"', "[", '{"token": ""}'])
def test_what_is_no_export_is_complained_of(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text, "keys", NOW)


COLUMNS = (
    "key_alias",
    "models",
    "max_budget",
    "spend",
    "budget_duration",
    "rpm_limit",
    "expires",
    "blocked",
    "team_id",
)
VALUES = (
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-9, 2**62) | st.text() | st.lists(st.text())
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(COLUMNS), VALUES))
def test_whatever_a_row_holds_becomes_a_key_that_can_be_read_or_is_refused(columns: dict[str, Any]) -> None:
    for key in brought(**columns).keys:
        assert key_of(key).digest.hex() == DIGEST
