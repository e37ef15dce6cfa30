"""Keys over HTTP: made, changed by several people, replaced and ended, with what the audit log has of it."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.house.admin import Managed, managed
from tests.house.commands import command
from tests.house.harness import KEY

FULL = {
    "name": "ci",
    "models": ["m"],
    "limits": {"requests_per_minute": "100", "tokens_per_minute": "1M"},
    "budget": {"usd": 5, "every": "day"},
    "expires": "2100-01-01",
}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Managed]:
    async with managed(tmp_path) as found:
        yield found


async def made(here: Managed, **fields: Any) -> Any:
    answer = await here.ask("POST", "keys", json={**FULL, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_key_that_was_made_lets_its_holder_call_at_once_and_is_shown_this_once(here: Managed) -> None:
    answer = await here.ask("POST", "keys", json=FULL)
    key = answer.json()["key"]
    assert re.fullmatch(r"sk-[0-9A-Za-z]{43}", key)
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, "/api/keys/ci", '"1"')
    assert await here.call(key) == 200
    listed = await here.ask("GET", "keys")
    (declared, found) = listed.json()["keys"]
    assert key not in listed.text
    assert KEY not in listed.text
    assert {**found, "key": key} == answer.json()
    assert found["limits"] == {"requests_per_minute": 100, "tokens_per_minute": 1_000_000}
    assert found["budget"] == {"usd": 5.0, "every": "day"}
    assert (found["models"], found["expires"], found["state"], found["version"]) == (["m"], "2100-01-01", "valid", 1)
    assert (declared["name"], declared["declared"][:10]) == ("tester", "test.yaml:")


async def test_a_change_holds_for_the_next_call(here: Managed) -> None:
    key = (await made(here))["key"]
    changed = await here.ask("PATCH", "keys/ci", json={"limits": {"requests_per_minute": None}, "budget": {"usd": 7}})
    assert changed.json()["limits"] == {"tokens_per_minute": 1_000_000}
    assert changed.json()["budget"] == {"usd": 7.0, "every": "day"}
    assert await here.call(key) == 200
    await here.ask("PATCH", "keys/ci", json={"budget": {"usd": 0.000001, "every": "hour"}})
    assert await here.call(key) == 429


async def test_of_two_who_change_a_key_the_second_must_look_at_it_again(here: Managed) -> None:
    await made(here)
    seen = (await here.ask("GET", "keys/ci")).headers["etag"]
    first = await here.ask("PATCH", "keys/ci", json={"priority": "low"}, headers={"if-match": seen})
    second = await here.ask("PATCH", "keys/ci", json={"priority": "high"}, headers={"if-match": seen})
    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["error"]["code"] == "changed_since_seen"
    again = await here.ask("PATCH", "keys/ci", json={"priority": "high"}, headers={"if-match": first.headers["etag"]})
    assert (again.status_code, again.json()["priority"]) == (200, "high")


async def test_only_the_very_version_matches(here: Managed) -> None:
    await made(here)
    for tag in ('"999"', 'W/"1"', "1", '"x"', ","):
        for method, path in (("PATCH", "keys/ci"), ("DELETE", "keys/ci"), ("POST", "keys/ci/rotate")):
            assert (await here.ask(method, path, json={}, headers={"if-match": tag})).status_code == 412
    assert (await here.ask("GET", "keys/ci")).json()["version"] == 1


async def test_without_a_condition_a_change_is_made_to_whatever_is_there(here: Managed) -> None:
    await made(here)
    for headers in ({}, {"if-match": "*"}, {"if-match": '"7", "3"'}):
        assert (await here.ask("PATCH", "keys/ci", json={"priority": "low"}, headers=headers)).status_code == 200
    assert (await here.ask("GET", "keys/ci")).json()["version"] == 4


async def test_a_key_is_replaced_with_an_overlap_and_ended_for_good(here: Managed) -> None:
    old = (await made(here))["key"]
    answer = await here.ask("POST", "keys/ci/rotate", json={"overlap": "1h"})
    new = answer.json()["key"]
    assert answer.json()["previous_until"] is not None
    assert [await here.call(key) for key in (old, new)] == [200, 200]
    newest = (await here.ask("POST", "keys/ci/rotate", json={"overlap": "0s"})).json()["key"]
    assert [await here.call(key) for key in (old, new, newest)] == [401, 401, 200]
    ended = await here.ask("DELETE", "keys/ci")
    assert (ended.status_code, ended.json()["state"]) == (200, "revoked")
    assert await here.call(newest) == 401
    again = await here.ask("DELETE", "keys/ci")
    assert (again.status_code, "was revoked on" in again.json()["error"]["message"]) == (409, True)


async def test_a_name_may_hold_what_a_path_cannot(here: Managed) -> None:
    answer = await here.ask("POST", "keys", json={"name": "team a/ci%2F?"})
    where = answer.headers["location"]
    assert where == "/api/keys/team%20a%2Fci%252F%3F"
    assert (await here.ask("GET", where.removeprefix("/api/"))).json()["name"] == "team a/ci%2F?"


IMPOSSIBLE: tuple[tuple[str, str, Any, int, str, str], ...] = (
    ("PATCH", "keys/tester", {"priority": "low"}, 409, "declared_in_file", "is declared in test.yaml:"),
    ("DELETE", "keys/tester", None, 409, "declared_in_file", "change it there"),
    ("POST", "keys", {"name": "tester"}, 409, "name_taken", "already, declared in test.yaml:"),
    ("POST", "keys", {"name": "ci"}, 409, "name_taken", "already, or was"),
    ("GET", "keys/testr", None, 404, "not_found", "(did you mean `tester`?)"),
    ("POST", "keys/testr/rotate", None, 404, "not_found", "(did you mean `tester`?)"),
    ("POST", "keys/ci/rotate", {"overlap": "long"}, 400, "invalid_value", "overlap: `long` is not a duration"),
    ("POST", "keys/ci/rotate", {"overlap": 3}, 400, "invalid_value", "overlap: `3` is not a duration"),
    ("POST", "keys/ci/rotate", {"overlop": "1h"}, 400, "invalid_value", "did you mean `overlap`?"),
    ("GET", "keys?nam=ci", None, 400, "invalid_value", "nam: is not a field here"),
)
"""A request, and how it is refused."""


async def test_what_cannot_be_done_is_told_with_the_reason(here: Managed) -> None:
    await made(here)
    for method, path, body, status, code, words in IMPOSSIBLE:
        answer = await here.ask(method, path, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error"), path
        assert words in error["message"]


async def test_everything_that_is_to_be_mended_is_told_at_once_field_by_field(here: Managed) -> None:
    answer = await here.ask("POST", "keys", json={"nam": "ci", "limits": {"requests_per_minute": "many"}, "sha256": ""})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert {each["param"] for each in error["details"]} >= {"nam", "sha256", "limits.requests_per_minute"}
    assert error["param"] == error["details"][0]["param"]
    assert "`many` is not a count" in error["message"]


NO_BODIES = (
    (b'{"name": "x"}', "text/plain", 415, "content-type: application/json"),
    (b"name=x", "application/x-www-form-urlencoded", 415, "content-type: application/json"),
    (b'{"name": "x"', "application/json", 400, "is not JSON"),
    (b'["x"]', "application/json", 400, "must be a JSON object"),
    (b'{"name": ' + b"[" * 500 + b"]" * 500 + b"}", "application/json", 400, "of at most 8 levels"),
    (b'{"name": ' + b"[" * 100_000, "application/json", 413, "larger than 65536 bytes"),
    (b'{"name": "' + b"x" * 70_000 + b'"}', "application/json", 413, "larger than 65536 bytes"),
    (b'{"name": "\xff"}', "application/json", 400, "is not JSON"),
)
"""What is sent, and how it is refused."""


async def test_a_body_that_is_none_is_refused(here: Managed) -> None:
    for sent, type, status, words in NO_BODIES:
        answer = await here.ask("POST", "keys", content=sent, headers={"content-type": type})
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), sent[:20]
    compressed = {"content-type": "application/json", "content-encoding": "gzip"}
    assert (await here.ask("POST", "keys", content=b"{}", headers=compressed)).status_code == 415
    assert len((await here.ask("GET", "keys")).json()["keys"]) == 1


async def test_what_was_done_over_http_and_by_command_is_in_the_audit_log(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text('state: {database: "sqlite:///gateway.db"}\n')
    async with managed(tmp_path) as here:
        await made(here)
        await here.ask("PATCH", "keys/ci", json={"priority": "low", "limits": {"requests_per_minute": 90}})
        await command(tmp_path, "keys", "rotate", "ci", "--config", "gateway.yaml")
        await here.ask("DELETE", "keys/ci")
        found = (await here.ask("GET", "audit")).json()["audit"]
        mine = (await here.ask("GET", "audit?who=root&action=key.edit")).json()["audit"]
        first = (await here.ask("GET", "audit?limit=3")).json()
        rest = (await here.ask("GET", f"audit?limit=3&cursor={first['cursor']}")).json()
        assert (await here.ask("GET", "audit?cursor=mine")).json()["error"]["param"] == "cursor"
    assert [each["action"] for each in found] == ["key.revoke", "key.rotate", "key.edit", "key.create"]
    assert [each["via"] for each in found] == ["api", "cli", "api", "api"]
    assert (found[0]["who"], found[0]["address"], found[0]["subject"]) == ("root", "127.0.0.1", "ci")
    assert found[1]["who"] == pwd.getpwuid(os.getuid()).pw_name
    assert mine == [found[2]]
    assert {each["field"]: (each["before"], each["after"]) for each in mine[0]["changes"]} == {
        "priority": ("normal", "low"),
        "limits.requests_per_minute": (100, 90),
    }
    assert ([*first["audit"], *rest["audit"]], rest["cursor"]) == (found, None)
    line = '"event":"admin_change","who":"root","address":"127.0.0.1","action":"key.edit","subject":"ci"'
    assert line in here.running.log.decode()


async def test_without_a_database_keys_are_listed_and_it_is_said_what_is_missing_for_more() -> None:
    async with managed(None) as here:
        assert [each["name"] for each in (await here.ask("GET", "keys")).json()["keys"]] == ["tester"]
        for method, path in (("POST", "keys"), ("GET", "usage"), ("GET", "requests"), ("GET", "audit")):
            answer = await here.ask(method, path, json={"name": "ci"} if method == "POST" else None)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_database")
            assert 'state: {database: "sqlite:///gateway.db"}' in answer.json()["error"]["message"]


async def test_a_key_says_how_much_of_its_budget_is_used_and_when_that_begins_anew(here: Managed) -> None:
    key = (await made(here))["key"]
    assert await here.call(key) == 200
    async with asyncio.timeout(5):  # the books are at most a second behind
        while not (used := (await here.ask("GET", "keys/ci")).json()["budget_used"])["tokens"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    usage = (await here.ask("GET", "usage", params={"by": "key", "key": "ci"})).json()["total"]
    assert (used["usd"], used["tokens"]) == (usage["cost_usd"], usage["input_tokens"] + usage["output_tokens"])
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert used["resets"] == f"{midnight:%Y-%m-%d}"
    [tester, ci] = (await here.ask("GET", "keys")).json()["keys"]
    assert (tester["budget_used"], ci["budget_used"]) == (None, used)
