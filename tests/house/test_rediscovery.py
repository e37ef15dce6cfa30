"""`models: discover` in a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from gateway.config.resolve import loads_all
from gateway.config.snapshot import Provider, Snapshot
from gateway.core.errors import Failure, UpstreamError
from gateway.engine.rediscovery import Rediscovery
from tests.house.harness import KEY, QUESTION, Running, gateway
from tests.house.scripted import Peer, scripted, until

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "found",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}


class Api:
    """A server with a list of models that can change, or go away."""

    def __init__(self, *models: str) -> None:
        self.models: tuple[str, ...] = models

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            content = ANSWER if request.line.startswith(b"POST") else {"data": [{"id": name} for name in self.models]}
            body = orjson.dumps(content)
            await peer.say(b"HTTP/1.1 200 .\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


def configuration(origin: str, rest: str = "") -> str:
    return f"""
providers:
  p: {{type: openai, base_url: '{origin}/v1', api_key: sk-1, models: discover}}
keys:
  - {{name: tester, key: {KEY}}}
{rest}
"""


@asynccontextmanager
async def discovering(api: Api) -> AsyncIterator[tuple[Running, str]]:
    async with scripted(api.serve) as upstream, gateway(configuration(upstream.origin)) as running:
        yield running, upstream.origin


async def published(running: Running) -> list[str]:
    listed = (await running.client.get("/v1/models")).json()
    return sorted(model["id"] for model in listed["data"])


async def test_what_a_provider_lists_can_be_called_from_the_start() -> None:
    async with discovering(Api("found", "other")) as (running, _):
        assert await published(running) == ["found", "other"]
        answer = await running.client.post("/v1/chat/completions", json={**QUESTION, "model": "found"})
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        missing = await running.client.post("/v1/chat/completions", json={**QUESTION, "model": "lost"})
        assert missing.status_code == 404


async def test_a_gateway_starts_though_its_provider_is_away() -> None:
    async with gateway(configuration("http://127.0.0.1:9")) as running:
        assert await published(running) == []
    assert b'"event":"models_not_listed","provider":"p"' in running.log


async def test_a_new_configuration_is_asked_for_at_once() -> None:
    api = Api("found")
    async with discovering(api) as (running, origin):
        api.models = ("found", "new")
        await running.gateway.swap(loads_all(configuration(origin, "aliases: {best: new}"), name="t", environ={}))
        assert "found" in await published(running)
        await until(lambda: "best" in running.gateway.live.house.snapshot.models)
        assert await published(running) == ["best", "found", "new"]


class Provided:
    """What a provider would list, round after round; None: it is away."""

    def __init__(self, *rounds: tuple[str, ...] | None) -> None:
        self.rounds = list(rounds)
        self.running: list[Snapshot] = []
        self.asked = 0

    async def ask(self, provider: Provider) -> tuple[str, ...]:
        self.asked += 1
        listed = self.rounds.pop(0) if self.rounds else None
        if listed is None:
            raise UpstreamError(Failure.UNREACHABLE, "away")
        return listed

    async def replace(self, snapshot: Snapshot) -> None:
        self.running.append(snapshot)


async def after(provided: Provided) -> list[list[str]]:
    """The models of each snapshot that the gateway is told to run on, over all of these rounds."""
    written = loads_all(configuration("http://127.0.0.1:9"), name="t", environ={}).snapshot
    told: list[str] = []
    keeping = Rediscovery(written, provided.ask, lambda level, event, **details: told.append(event))
    running = asyncio.get_running_loop().create_task(keeping.run(provided.replace))
    await keeping.ready(2)
    for asked in range(
        2, len(provided.rounds) + 3
    ):  # one round more: when it begins, what the last one brought is done
        keeping.adopt(written)
        await until(lambda: provided.asked >= asked)  # noqa: B023  looked at before the next turn
    running.cancel()
    await asyncio.wait([running])
    return [sorted(snapshot.models) for snapshot in provided.running]


async def test_a_provider_that_is_away_keeps_its_models() -> None:
    assert await after(Provided(("a",), None, None)) == [["a"]]


async def test_a_list_that_stays_the_same_disturbs_nobody() -> None:
    assert await after(Provided(("a",), ("a",), ("a",))) == [["a"]]


async def test_a_model_that_is_gone_is_forgotten() -> None:
    assert await after(Provided(("a", "b"), ("b", "c"))) == [["a", "b"], ["b", "c"]]


async def test_a_provider_that_comes_late_is_published_when_it_comes() -> None:
    assert await after(Provided(None, ("a",))) == [["a"]]


@pytest.mark.parametrize(
    ("pauses", "rounds"), [({"every": 0.001}, [("a",), ("b",)]), ({"again": 0.001}, [None, ("b",)])]
)
async def test_rounds_follow_by_themselves_and_sooner_when_a_provider_was_away(
    pauses: dict[str, float], rounds: list[tuple[str, ...] | None]
) -> None:
    provided = Provided(*rounds, None)
    written = loads_all(configuration("http://127.0.0.1:9"), name="t", environ={}).snapshot
    keeping = Rediscovery(written, provided.ask, lambda level, event, **details: None, **pauses)
    running = asyncio.get_running_loop().create_task(keeping.run(provided.replace))
    await until(lambda: bool(provided.running) and "b" in provided.running[-1].models)
    running.cancel()
    await asyncio.wait([running])
