"""The simulator on a real socket, and the account it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai as sdk
import orjson
import pytest

from gateway.simulator.server import Simulator
from gateway.simulator.truth import Served
from tests.house.harness import PLAIN

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[sdk.AsyncOpenAI]:
    http = sdk.DefaultAsyncHttpxClient(verify=PLAIN)
    async with sdk.AsyncOpenAI(
        base_url=simulator.url, api_key="sk-any", max_retries=0, timeout=5, http_client=http
    ) as connected:
        yield connected


async def test_the_official_sdk_reads_a_whole_answer(client: sdk.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI)
    assert answer.choices[0].message.content == "You said: hi"


async def test_the_official_sdk_reads_a_stream_of_tool_calls(client: sdk.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="gpt-4o", messages=HI, tools=TOOLS) as stream:
        final = await stream.get_final_completion()
    assert [call.function.name for call in final.choices[0].message.tool_calls or []] == ["weather", "time"]


async def test_the_account_equals_what_the_client_was_told(simulator: Simulator, client: sdk.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI)
    assert answer.usage is not None
    told = answer.usage.prompt_tokens, answer.usage.completion_tokens
    assert simulator.served == [Served(answer.id, "gpt-4o", False, *told, cut=False, client_left=False, key="sk-any")]


async def test_every_call_has_an_id_of_its_own(client: sdk.AsyncOpenAI) -> None:
    async def ask() -> tuple[str, str | None]:
        answer = await client.chat.completions.create(model="gpt-4o", messages=HI)
        return answer.id, answer._request_id

    ids = [id for _ in range(3) for id in await ask()]
    assert len(set(ids)) == 6


async def test_connections_are_kept_and_requests_recorded(simulator: Simulator, client: sdk.AsyncOpenAI) -> None:
    for _ in range(3):
        await client.chat.completions.create(model="gpt-4o", messages=HI)
    assert (simulator.connections, simulator.open_connections) == (1, 1)
    recorded = simulator.requests[-1]
    assert (recorded.method, recorded.path) == ("POST", "/v1/chat/completions")
    assert recorded.header(b"authorization") == "Bearer sk-any"
    assert orjson.loads(recorded.body)["messages"] == HI


async def test_models_are_listed_and_found_by_name(client: sdk.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-4o", "gpt-4o-mini", "gpt-4.1"]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(sdk.NotFoundError) as missing:
        await client.models.retrieve("gpt-2")
    assert missing.value.code == "model_not_found"


async def test_what_is_not_served_is_a_404_in_the_envelope(client: sdk.AsyncOpenAI) -> None:
    with pytest.raises(sdk.NotFoundError) as missing:
        await client.moderations.create(model="m", input="x")
    assert missing.value.type == "invalid_request_error"


async def test_only_the_right_key_is_let_in() -> None:
    async with (
        Simulator(api_key="sk-right") as simulator,
        httpx.AsyncClient(base_url=simulator.url, verify=PLAIN) as client,
    ):
        wrong = await client.get("/models", headers={"authorization": "Bearer sk-wrong-but-long-enough"})
        missing = await client.get("/models")
        right = await client.get("/models", headers={"authorization": "Bearer sk-right"})
    assert [wrong.status_code, missing.status_code, right.status_code] == [401, 401, 200]
    assert wrong.json()["error"]["code"] == "invalid_api_key"
    assert "sk-wrong-but-long-enough" not in wrong.text


async def test_azures_paths_and_key_header_are_served() -> None:
    async with Simulator(api_key="azure-key") as simulator:
        endpoint = simulator.url.removesuffix("/v1")
        async with sdk.AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_key="azure-key", api_version="2024-10-21", max_retries=0
        ) as client:
            answer = await client.chat.completions.create(model="mine", messages=HI)
        assert answer.choices[0].message.content == "You said: hi"
        assert simulator.requests[-1].path.startswith("/openai/deployments/mine/chat/completions?api-version=")


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    models = (b"gpt-4.1", b"gpt-4o-mini", b"gpt-4o")
    for model in models:
        last = b"connection: close\r\n" if model == models[-1] else b"x-simulate-fault: first-token-delay:10ms\r\n"
        writer.write(b"GET /v1/models/%b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (model, last))
    async with asyncio.timeout(5):
        answers = await reader.read()
    places = [answers.index(b'"id": "%b"' % model) for model in models]
    assert places == sorted(places)
    writer.close()


async def test_what_is_not_http_is_turned_away(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"\x16\x03\x01\x02\x00\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_client_that_waits_for_permission_to_send_gets_it(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    body = orjson.dumps({"model": "gpt-4o", "messages": HI})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body))
    async with asyncio.timeout(5):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(body)
        assert b"HTTP/1.1 200 OK\r\n" in await reader.readuntil(b"\r\ncontent-type")
    writer.close()


async def test_closing_it_drops_every_connection() -> None:
    simulator = Simulator()
    await simulator.start()
    _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    await simulator.until(lambda: simulator.open_connections == 1)
    await simulator.aclose()
    assert simulator.open_connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.close()
