"""Who may do what over HTTP: every route of the admin API, with every permission and without any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.config.snapshot import PERMISSIONS, AdminToken
from gateway.web.api.door import holder, match
from gateway.web.api.table import TABLE, Row
from tests.house.admin import ROOT, Managed, managed, token
from tests.house.harness import KEY, config, gateway

FILLED = {"{name}": "nobody"}
"""What stands in the paths: nothing is there, so that nothing is changed."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

NOWHERE = (
    "",
    "nothing",
    "keys/",
    "keys/a/b",
    "keys/nobody/rotate/now",
    "%2e%2e/metrics",
    "KEYS",
    "whoami/x",
)
"""Paths below /api of which the table has none."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Managed]:
    async with managed(tmp_path) as found:
        yield found


def path(row: Row) -> str:
    return "/".join(FILLED.get(step, step) for step in row.path.split("/")).removeprefix("/api/")


async def test_every_route_wants_its_permission_and_takes_no_other(here: Managed) -> None:
    for row in TABLE:
        for permission in PERMISSIONS:
            answer = await here.ask(row.method, path(row), token=token(permission))
            if row.permission in (None, permission):
                assert answer.status_code not in (401, 403, 405, 500), (row, answer.text)
                continue
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (403, "permission_denied"), row
            assert error["message"] == f"The token `{permission}` lacks the permission {row.permission}."


NO_TOKENS: tuple[dict[str, str], ...] = (
    {"authorization": ""},
    {"authorization": f"Bearer {KEY}"},
    {"authorization": "Bearer a-token-of-the-test-suite-wrong"},
    {"authorization": f"Bearer {ROOT}2"},
    {"authorization": f"Basic {ROOT}"},
    {"authorization": ROOT},
    {"authorization": "", "x-api-key": ROOT},
    {"authorization": "Bearer"},
    {"authorization": "Bearer \xff"},
)
"""Headers without a valid token: none at all, a client's key, a wrong one, the right one where it does not count."""


async def test_without_a_valid_token_nothing_below_api_is_answered(here: Managed) -> None:
    asked = [(row.method, path(row)) for row in TABLE] + [("GET", each) for each in NOWHERE] + [("PUT", "keys")]
    for shown in NO_TOKENS:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in shown.items()]
        for method, where in asked:
            answer = await here.running.client.request(method, f"/api/{where}", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_admin_token"), where
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_nothing_is_behind_the_door_but_what_is_in_the_table(here: Managed) -> None:
    there = {(row.method, path(row)) for row in TABLE}
    for where in sorted({path(row) for row in TABLE} | set(NOWHERE)):
        for method in METHODS:
            if (method, where) not in there:
                answer = await here.running.client.request(
                    method, f"/api/{where}", headers={"authorization": f"Bearer {ROOT}"}, follow_redirects=False
                )
                assert answer.status_code in (404, 405), (method, where)


async def test_another_method_is_told_which_there_are(here: Managed) -> None:
    answer = await here.ask("PUT", "keys/nobody")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PATCH, DELETE")


async def test_every_answer_is_kept_by_nobody(here: Managed) -> None:
    found = [await here.ask(row.method, path(row)) for row in TABLE]
    found += [await here.ask("GET", "nothing"), await here.ask("PUT", "keys"), await here.ask("GET", "keys", token="x")]
    assert {answer.headers["cache-control"] for answer in found} == {"no-store"}
    assert not any("access-control-allow-origin" in answer.headers for answer in found)


async def test_an_admin_token_calls_no_model(here: Managed) -> None:
    assert await here.call(ROOT) == 401


async def test_who_was_refused_is_in_the_log(tmp_path: Path) -> None:
    async with managed(tmp_path) as here:
        await here.ask("GET", "keys", token="a-guess-of-somebody")
        await here.ask("GET", "keys", token=token("usage.view"))
    log = here.running.log.decode()
    assert '"event":"admin_refused","address":"127.0.0.1"' in log
    assert '"event":"admin_denied","who":"usage.view","wanted":"key.view","path":"/api/keys"' in log
    assert "a-guess-of-somebody" not in log


async def test_without_admin_tokens_the_api_is_off_and_says_how_to_turn_it_on() -> None:
    async with gateway(config("http://127.0.0.1:1")) as running:
        answer = await running.client.get("/api/keys")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "admin_api_off")
    assert "admin: {tokens: [...]}" in answer.json()["error"]["message"]


def test_every_permission_is_known_and_every_route_is_there_once() -> None:
    assert {row.permission for row in TABLE} <= {*PERMISSIONS, None}
    assert [row.path for row in TABLE if row.permission is None] == ["/api/whoami"]
    assert len({(row.method, row.path) for row in TABLE}) == len(TABLE)


def test_every_token_is_held_against_the_one_that_was_sent_whoever_it_belongs_to() -> None:
    tokens = [AdminToken(name, sha256(name.encode()).digest(), frozenset()) for name in ("first", "second", "last")]
    for sent in ("first", "last", "nobody's", ""):
        left = iter(tokens)
        found = holder(left, sent.encode())
        assert (found.name if found else None) == (sent if sent in ("first", "last") else None)
        assert list(left) == []


@pytest.mark.parametrize(
    ("wanted", "path", "found"),
    [
        ("api/keys/{name}", "api/keys/a%2Fb", {"name": "a/b"}),
        ("api/keys/{name}", "api/keys/%2525", {"name": "%25"}),
        ("api/keys/{name}", "api/keys/", None),
        ("api/keys/{name}", "api/keys/a/b", None),
        ("api/keys", "api/%6beys", None),
    ],
)
def test_names_in_paths_may_hold_anything(wanted: str, path: str, found: dict[str, str] | None) -> None:
    assert match(wanted.split("/"), path.split("/")) == found
