"""What a gateway says of itself over HTTP: usage, calls, models, configuration."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.record import FIELDS
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.admin import Managed, managed
from tests.house.harness import QUESTION, gateway

CALLS = 5


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Managed]:
    async with managed(tmp_path) as found:
        yield found


async def said(here: Managed, path: str) -> Any:
    answer = await here.ask("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def entered(here: Managed, calls: int) -> Any:
    """What the ledger has of so many calls, once it has them."""
    async with asyncio.timeout(10):
        while (found := await said(here, "usage"))["total"]["calls"] < calls:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.02)
    return found


async def called(here: Managed) -> Any:
    """Some calls that are well, and one that is not."""
    for _ in range(CALLS):
        assert await here.call() == 200
    assert await here.call("nobody's") == 401
    return await entered(here, CALLS + 1)


async def test_usage_is_told_as_the_command_line_has_it_and_as_csv(here: Managed) -> None:
    found = await called(here)
    assert [(line["key"], line["calls"], line["errors"]) for line in found["lines"]] == [
        ("tester", CALLS, 0),
        ("", 1, 1),
    ]
    assert found["total"]["cost_usd"] == f"{found['total']['cost_micros'] / 1e6:.6f}"
    by_day = await said(here, "usage?by=day&since=1d&key=tester")
    assert [line["calls"] for line in by_day["lines"]] == [CALLS]
    for path, headers in (("usage?format=csv", {}), ("usage", {"accept": "text/html, text/csv;q=0.9"})):
        answer = await here.ask("GET", path, headers=headers)
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert [{name: value or None for name, value in row.items()} for row in rows] == [
            {name: None if value in (None, "") else str(value) for name, value in line.items()}
            for line in found["lines"]
        ]
    assert (await here.ask("GET", "usage?format=json", headers={"accept": "text/csv"})).json() == found


async def test_a_call_is_told_with_all_that_its_record_has_and_nothing_that_was_said(here: Managed) -> None:
    await called(here)
    newest, *others = (await said(here, "requests"))["requests"]
    promised = {*FIELDS, "cost_usd"}
    assert [set(each) for each in (newest, *others)] == [promised] * (CALLS + 1)
    assert (newest["status"], newest["outcome"], newest["provider"]) == (401, "client_error", "")
    assert (others[0]["status"], others[0]["outcome"], others[0]["usage_source"]) == (200, "ok", "reported")
    assert others[0]["cost_usd"] == f"{others[0]['cost_micros'] / 1e6:.6f}"
    assert [(each["provider"], each["outcome"]) for each in others[0]["attempts"]] == [("echo", "ok")]
    assert "hello" not in str(others)
    assert [each["time"] for each in others] == sorted((each["time"] for each in others), reverse=True)


async def test_pages_neither_repeat_nor_leave_out_a_call_while_new_ones_come_in(here: Managed) -> None:
    await called(here)
    everything = [each["id"] for each in (await said(here, "requests"))["requests"]]
    seen: list[str] = []
    page = await said(here, "requests?limit=2")
    while page["cursor"]:
        seen += [each["id"] for each in page["requests"]]
        await here.call()
        await entered(here, CALLS + 1 + len(seen) // 2)
        page = await said(here, f"requests?limit=2&cursor={page['cursor']}")
    assert seen + [each["id"] for each in page["requests"]] == everything


async def test_calls_are_found_by_everything_that_is_known_of_them(here: Managed) -> None:
    await called(here)
    for question, calls in (
        ("key=tester", CALLS),
        ("key=nobody", 0),
        ("model=m&provider=echo", CALLS),
        ("outcome=client_error", 1),
        ("status=401", 1),
        ("status=200&key=tester&since=1h", CALLS),
        ("until=2020-01-01", 0),
        ("since=2020-01-01&limit=1", 1),
    ):
        assert len((await said(here, f"requests?{question}"))["requests"]) == calls, question


async def test_a_question_that_cannot_be_understood_is_refused_with_its_field(here: Managed) -> None:
    for path, param in (
        ("usage?by=colour", "by"),
        ("usage?by=key&by=day", "by"),
        ("usage?since=soon", "since"),
        ("usage?format=xml", "format"),
        ("usage?outcome=ok", "outcome"),
        ("requests?outcome=good", "outcome"),
        ("requests?status=2xx", "status"),
        ("requests?limit=0", "limit"),
        ("requests?cursor=abc", "cursor"),
        ("requests?since=2020-01-02&until=2020-01-01", "until"),
        ("audit?whom=root", "whom"),
        ("models?name=m", "name"),
        ("config?x=", "x"),
        ("whoami?x=1", "x"),
    ):
        answer = await here.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), path


async def test_models_are_told_with_their_targets_and_how_these_are_now() -> None:
    async with Simulator(Faults(fail=(("429", 1.0),))) as full, Simulator() as well:
        text = f"""
admin: {{tokens: [{{name: root, token: a-token-of-the-test-suite-root, permissions: ["config.view"]}}]}}
providers:
  full: {{type: openai, base_url: "{full.url}", api_key: canary-1}}
  well: {{type: openai, base_url: "{well.url}", api_key: canary-2}}
models:
  m:
    strategy: ordered
    fallbacks: [spare]
    targets:
      - {{provider: full, model: gpt-4o, limits: {{requests_per_minute: 60}}, weight: 3}}
      - {{provider: well, model: gpt-4o, price: {{input: 1, output: 2}}}}
  spare: {{targets: [{{provider: well, model: gpt-4o-mini}}]}}
  "any-*": {{targets: [{{provider: well, model: "*"}}]}}
aliases: {{gpt-4: m}}
default_model: m
keys: [{{name: tester, key: a-key-of-the-test-suite-000001}}]
"""
        async with gateway(text) as running:
            here = Managed(running)
            assert (await running.client.post("/v1/chat/completions", json=QUESTION)).status_code == 200
            found = await said(here, "models")
    assert (found["default_model"], [each["name"] for each in found["models"]]) == ("m", ["m", "spare", "any-*"])
    model = found["models"][0]
    first, second = model["targets"]
    assert (model["aliases"], model["strategy"], model["fallbacks"]) == (["gpt-4"], "ordered", ["spare"])
    assert (first["provider"], first["model"], first["weight"]) == ("full", "gpt-4o", 3)
    assert first["limits"] == {"requests_per_minute": 60}
    assert (first["state"]["standing"], first["state"]["why"]) == ("cooling_down", "rate_limited")
    assert 0 < first["state"]["seconds"] <= 5
    assert second["state"] == {"standing": "ready", "seconds": 0.0, "why": None, "in_flight": 0}
    assert second["price"] == {"input": 1.0, "output": 2.0}


CANARIES = """
state: {redis_down: closed}
server: {metrics_key: canary-metrics}
admin:
  tokens: [{name: root, token: a-token-of-the-test-suite-root, permissions: ["*"]}]
  encryption_key: Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5MDA=
providers:
  a: {type: openai, api_key: canary-key, organization: canary-org, project: canary-project,
      headers: {x-team: canary-header}, proxy: "http://canary-user:canary-password@proxy:1", enabled: false}
  b: {type: bedrock, region: us-east-1, access_key_id: canary-id, secret_access_key: canary-secret,
      session_token: canary-session}
  echo: {type: echo}
models:
  m: {targets: [{provider: echo, model: m}, {provider: b, model: anthropic.claude, limits: {concurrent_requests: 3}}]}
aliases: {gpt-4: m}
keys: [{name: tester, key: canary-of-a-client-01, limits: {tokens_per_minute: 5k}}]
"""


async def test_the_configuration_in_force_is_told_without_its_secrets() -> None:
    async with gateway(CANARIES) as running:
        answer = await Managed(running).ask("GET", "config")
        digest = running.gateway.live.house.snapshot.digest
    found = answer.json()["configuration"]
    assert answer.json()["hash"] == digest
    assert "anary" not in answer.text
    assert "Y2FuYXJ5" not in answer.text
    assert "a-token-of" not in answer.text
    assert found["server"]["metrics_key"] == found["providers"]["a"]["api_key"] == "***"
    assert found["providers"]["a"]["headers"] == found["providers"]["a"]["proxy"] == "***"
    assert found["providers"]["b"]["api_key"] is None
    assert found["providers"]["b"]["aws_keys"]["access_key_id"] == "***"
    assert found["admin"]["tokens"][0]["name"] == "root"
    assert found["admin"]["encryption"] == "***"
    assert found["models"]["m"]["targets"][1]["limits"] == {"concurrent_requests": 3}
    assert found["aliases"] == {"gpt-4": "m"}
    assert [(key["name"], key["limits"]) for key in found["keys"]] == [("tester", {"tokens_per_minute": 5000})]


async def test_whoever_asks_is_told_what_the_token_may_do(here: Managed) -> None:
    found = await here.ask("GET", "whoami", token="a-token-of-the-test-suite-key.view")
    assert found.json() == {"name": "key.view", "permissions": ["key.view"]}
