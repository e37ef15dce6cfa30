"""Providers over HTTP: made, called, tested, changed and deleted, with what is seen of their secrets: nothing."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.store.sealed import KeyAway, KeyRefused
from gateway.web.api.refusals import told
from tests.house.admin import Managed, configuration, managed
from tests.house.harness import gateway

KEY = "sk-canary-of-a-provider"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Managed]:
    async with managed(tmp_path) as found:
        yield found


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as running:
        yield running


def openai(upstream: Simulator, **fields: Any) -> dict[str, Any]:
    """One that can be reached and takes its key."""
    return {"name": "mine", "type": "openai", "base_url": upstream.url, "api_key": KEY, "models": ["gpt-4o"], **fields}


async def made(here: Managed, upstream: Simulator, **fields: Any) -> Any:
    answer = await here.ask("POST", "providers", json=openai(upstream, **fields))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def shown(here: Managed, name: str = "mine") -> Any:
    (found,) = [each for each in (await here.ask("GET", "providers")).json()["providers"] if each["name"] == name]
    return found


def content(folder: Path) -> bytes:
    """Of all files in it."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_a_provider_that_was_made_serves_the_next_call_and_is_listed_beside_those_of_the_file(
    here: Managed, upstream: Simulator
) -> None:
    assert await here.call(model="gpt-4o") == 404
    answer = await here.ask("POST", "providers", json=openai(upstream))
    assert await here.call(model="gpt-4o") == 200
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/providers/mine")
    declared, found = (await here.ask("GET", "providers")).json()["providers"]
    assert (declared["name"], declared["declared"][:10], declared["version"]) == ("echo", "test.yaml:", None)
    assert found == answer.json()
    assert (found["state"], found["secrets"], found["models"]) == ("active", ["api_key"], ["gpt-4o"])
    one = await here.ask("GET", "providers/mine")
    assert (one.json(), one.headers["etag"]) == (found, answer.headers["etag"])
    assert "etag" not in (await here.ask("GET", "providers/echo")).headers


async def test_its_secrets_are_in_no_answer_no_line_of_the_log_and_no_file(tmp_path: Path, upstream: Simulator) -> None:
    headers, proxy = {"x-tenant": "canary-tenant"}, "http://user:canary-proxy@127.0.0.1:1"
    secrets = [KEY, "canary-tenant", "canary-proxy", "canary-organization", "sk-wrong-canary"]
    async with managed(tmp_path) as here:
        answers = [
            await here.ask("POST", "providers", json=openai(upstream, headers=headers, organization=secrets[3])),
            await here.ask("POST", "providers/mine/test"),
            await here.ask("PATCH", "providers/mine", json={"api_key": "sk-wrong-canary"}),
            await here.ask("POST", "providers/mine/test"),
            await here.ask("PATCH", "providers/mine", json={"proxy": proxy, "api_key": KEY, "headers": None}),
            await here.ask("POST", "providers", json=openai(upstream, name="other", proxy=proxy, base_url="wrong")),
            await here.ask("POST", "providers/discover", json=openai(upstream, proxy=proxy)),
        ]
        await here.call(model="gpt-4o")
        paths = ("providers", "providers/mine", "config", "models", "audit", "requests")
        answers += [await here.ask("GET", path) for path in paths]
        answers.append(await here.ask("DELETE", "providers/mine"))
        kept = content(tmp_path)
    told = b"".join(answer.content for answer in answers) + here.running.log + kept
    assert b"provider.create" in told
    assert [secret for secret in secrets if secret.encode() in told] == []


async def test_a_change_holds_for_the_next_call_and_keeps_the_secrets_that_it_does_not_name(
    here: Managed, upstream: Simulator
) -> None:
    await made(here, upstream)
    changed = await here.ask("PATCH", "providers/mine", json={"models": ["gpt-4o-mini"], "send_user_id": True})
    assert (changed.status_code, changed.json()["secrets"]) == (200, ["api_key"])
    assert [await here.call(model=model) for model in ("gpt-4o", "gpt-4o-mini")] == [404, 200]
    await here.ask("PATCH", "providers/mine", json={"enabled": False})
    assert (await here.call(model="gpt-4o-mini"), (await shown(here))["state"]) == (404, "inactive")


async def test_of_two_who_change_a_provider_the_second_must_look_at_it_again(
    here: Managed, upstream: Simulator
) -> None:
    await made(here, upstream)
    seen = {"if-match": (await here.ask("GET", "providers/mine")).headers["etag"]}
    first = await here.ask("PATCH", "providers/mine", json={"models": []}, headers=seen)
    second = await here.ask("PATCH", "providers/mine", json={"enabled": False}, headers=seen)
    third = await here.ask("DELETE", "providers/mine", headers=seen)
    assert [each.status_code for each in (first, second, third)] == [200, 412, 412]
    assert second.json()["error"]["code"] == "changed_since_seen"
    again = {"if-match": first.headers["etag"]}
    assert (await here.ask("DELETE", "providers/mine", headers=again)).json() == {"name": "mine", "state": "deleted"}


async def test_one_that_a_model_leads_to_is_not_deleted_and_the_models_are_named(
    here: Managed, upstream: Simulator
) -> None:
    await made(here, upstream, models=["gpt-4o", "o3-*"])
    error = (await here.ask("DELETE", "providers/mine")).json()["error"]
    assert (error["code"], "serves `gpt-4o`, `o3-*`:" in error["message"]) == ("in_use", True)
    assert await here.call(model="gpt-4o") == 200
    await here.ask("PATCH", "providers/mine", json={"models": []})
    assert (await here.ask("DELETE", "providers/mine")).status_code == 200
    assert (await here.ask("GET", "providers/mine")).status_code == 404


IMPOSSIBLE: tuple[tuple[str, str, Any, int, str, str], ...] = (
    ("PATCH", "providers/echo", {"enabled": False}, 409, "declared_in_file", "is declared in test.yaml:"),
    ("DELETE", "providers/echo", None, 409, "declared_in_file", "change it there"),
    ("POST", "providers", {"name": "echo"}, 409, "name_taken", "already, declared in test.yaml:"),
    ("GET", "providers/ecko", None, 404, "not_found", "(did you mean `echo`?)"),
    ("POST", "providers/ecko/test", None, 404, "not_found", "(did you mean `echo`?)"),
    ("POST", "providers/eko/models", None, 404, "not_found", "There is no provider `eko`"),
    ("POST", "providers/echo/test", {"modle": "x"}, 400, "invalid_value", "did you mean `model`?"),
    ("POST", "providers/echo/test", {"model": 5}, 400, "invalid_value", "model: must be text"),
    ("POST", "providers/echo/models", {"model": "x"}, 400, "invalid_value", "model: is not a field here"),
    ("POST", "providers/discover", {"type": "opnai"}, 400, "invalid_value", "did you mean `openai`?"),
    ("GET", "providers?name=echo", None, 400, "invalid_value", "name: is not a field here"),
    (
        *("POST", "providers", {"name": "x", "type": "openai_compatible", "base_url": "http://169.254.169.254/"}),
        *(400, "invalid_value", "base_url: leads to an address that is no provider's"),
    ),
)
"""A request, and how it is refused."""


async def test_what_cannot_be_done_is_told_with_the_reason(here: Managed) -> None:
    for method, path, body, status, code, words in IMPOSSIBLE:
        answer = await here.ask(method, path, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], words in error["message"]) == (status, code, True), error


async def test_everything_that_is_to_be_mended_is_told_at_once_field_by_field(here: Managed) -> None:
    wrong = {"name": "x", "type": "openai", "api_key": "k", "base_url": "ftp://x", "models": ["m"], "regoin": "eu"}
    error = (await here.ask("POST", "providers", json=wrong)).json()["error"]
    assert {each["param"] for each in error["details"]} == {"base_url", "models[0]", "regoin"}
    assert [each["name"] for each in (await here.ask("GET", "providers")).json()["providers"]] == ["echo"]


async def test_a_test_tells_what_is_wrong_and_how_long_it_took_and_the_list_has_the_last_one(
    here: Managed, upstream: Simulator
) -> None:
    await made(here, upstream)
    nobody, elsewhere = "http://127.0.0.1:1/v1", f"http://127.0.0.1:{here.running.port}/elsewhere"
    for change, reachable, credentials, words in (
        ({}, True, "valid", ""),
        ({"api_key": "sk-wrong"}, True, "refused", "the credentials were refused (401"),
        ({"api_key": KEY, "base_url": nobody}, False, "unknown", "nothing listens there"),
        ({"api_key": KEY, "base_url": elsewhere}, True, "unknown", "check the path of base_url"),
    ):
        await here.ask("PATCH", "providers/mine", json=change)
        assert (await shown(here))["test"] is None
        answer = await here.ask("POST", "providers/mine/test")
        found = answer.json()
        assert (answer.status_code, found["ok"], found["reachable"]) == (200, not words, reachable), found
        assert (found["credentials"], words in found["error"]) == (credentials, True), found
        assert (found["latency_ms"] or 0) > 0 or not reachable
        assert (await shown(here))["test"] == found


async def test_a_test_may_call_a_model(here: Managed, upstream: Simulator) -> None:
    await made(here, upstream)
    well = (await here.ask("POST", "providers/mine/test", json={"model": "gpt-4o"})).json()
    assert (well["ok"], well["note"], well["models"]) == (True, "gpt-4o answered", None)
    upstream.faults = Faults(fail=(("500", 1.0),))
    ill = (await here.ask("POST", "providers/mine/test", json={"model": "gpt-4o"})).json()
    assert (ill["ok"], "the provider fails (500" in ill["error"]) == (False, True)
    assert (await here.ask("POST", "providers/echo/test")).json()["ok"] is True
    assert (await shown(here, "echo"))["test"]["ok"] is True


async def test_models_are_listed_before_and_after_a_provider_is_saved(here: Managed, upstream: Simulator) -> None:
    before = (await here.ask("POST", "providers/discover", json=openai(upstream))).json()
    assert (before["ok"], "gpt-4o" in before["models"], "provider" in before) == (True, True, False)
    assert [each["name"] for each in (await here.ask("GET", "providers")).json()["providers"]] == ["echo"]
    refused = (await here.ask("POST", "providers/discover", json=openai(upstream, api_key="sk-wrong"))).json()
    assert (refused["ok"], refused["credentials"], refused["models"]) == (False, "refused", None)
    await made(here, upstream, models="discover")
    assert (await here.ask("POST", "providers/mine/models")).json()["models"] == before["models"]
    async with asyncio.timeout(10):
        while await here.call(model="gpt-4o") != 200:  # noqa: ASYNC110  its list is asked for in the background
            await asyncio.sleep(0.01)


async def test_who_did_it_is_in_the_audit_log_and_in_the_log(tmp_path: Path, upstream: Simulator) -> None:
    async with managed(tmp_path) as here:
        await made(here, upstream)
        await here.ask("PATCH", "providers/mine", json={"models": [], "api_key": "sk-2"})
        await here.ask("DELETE", "providers/mine")
        deeds = (await here.ask("GET", "audit?subject=mine")).json()["audit"]
    assert [(each["action"], each["who"]) for each in deeds] == [
        ("provider.delete", "root"),
        ("provider.edit", "root"),
        ("provider.create", "root"),
    ]
    assert {"field": "api_key", "before": "set", "after": "set anew"} in deeds[1]["changes"]
    line = '"event":"admin_change","who":"root","address":"127.0.0.1","action":"provider.edit","subject":"mine"'
    assert line in here.running.log.decode()


async def test_without_an_encryption_key_no_secret_is_taken_and_it_is_said_what_to_write(
    tmp_path: Path, upstream: Simulator
) -> None:
    async with managed(tmp_path, encryption_key="") as here:
        refused = await here.ask("POST", "providers", json=openai(upstream))
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_encryption_key")
        assert "admin.encryption_key" in refused.json()["error"]["message"]
        local = {"name": "local", "type": "openai_compatible", "base_url": upstream.url}
        assert (await here.ask("POST", "providers", json=local)).status_code == 201


async def test_one_whose_secret_cannot_be_opened_is_told_as_such_and_the_others_serve(
    tmp_path: Path, upstream: Simulator
) -> None:
    async with managed(tmp_path) as here:
        await made(here, upstream)
    lost = configuration(tmp_path, encryption_key=b64encode(bytes([1]) * 32).decode())
    async with gateway(lost) as running:
        here = Managed(running)
        found = await shown(here)
        assert (found["state"], "admin.previous_encryption_keys" in found["why"]) == ("unreadable", True)
        tested = await here.ask("POST", "providers/mine/test")
        assert (tested.status_code, tested.json()["error"]["code"]) == (409, "secret_locked")
        assert [await here.call(model=model) for model in ("gpt-4o", "m")] == [404, 200]
        await here.ask("PATCH", "providers/mine", json={"api_key": KEY})
        assert await here.call(model="gpt-4o") == 200


def test_a_key_service_that_is_away_may_be_back_and_one_that_refuses_is_to_be_mended() -> None:
    kinds = [told(error) for error in (KeyAway("not now"), KeyRefused("never"))]
    assert [(status, said["error"]["code"]) for status, said in filter(None, kinds)] == [
        (503, "encryption_key_away"),
        (409, "secret_locked"),
    ]


async def test_without_a_database_those_of_the_file_are_listed_and_tested(upstream: Simulator) -> None:
    async with managed(None) as here:
        assert (await here.ask("POST", "providers/echo/test")).json()["ok"] is True
        assert (await shown(here, "echo"))["test"] is None
        assert (await here.ask("POST", "providers/discover", json=openai(upstream))).json()["ok"] is True
        refused = await here.ask("POST", "providers", json=openai(upstream))
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_database")


async def test_what_is_made_in_one_replica_serves_in_the_others_within_seconds(
    tmp_path: Path, upstream: Simulator
) -> None:
    async with managed(tmp_path) as here, gateway(configuration(tmp_path)) as running:
        await made(here, upstream)
        there = Managed(running)
        async with asyncio.timeout(8):
            while await there.call(model="gpt-4o") != 200:  # noqa: ASYNC110  it looks into the database now and then
                await asyncio.sleep(0.05)
