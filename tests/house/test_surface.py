"""What a client sees of the gateway beside the answers: paths, statuses, headers, keys; and what nobody may see."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from gateway.core.call import Json
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, PLAIN, QUESTION, Running, config, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"
FEW_KEY, EXPIRED_KEY = "a-key-for-few-models-000001", "a-key-of-last-year-00000001"

MORE_MODELS = "  org/model-7b: {targets: [{provider: p0, model: seven}]}"
MORE_CONFIG = f"""
  - {{name: few, key: {FEW_KEY}, models: ["org/*"]}}
  - {{name: old, key: {EXPIRED_KEY}, expires: 2020-01-01}}
server: {{max_body: 64KiB}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[Running]:
    async with (
        Simulator() as upstream,
        gateway(config(upstream.url, model=MORE_MODELS, extra=MORE_CONFIG)) as under_test,
    ):
        yield under_test


@pytest_asyncio.fixture(loop_scope="module")
async def client(house: Running) -> httpx.AsyncClient:
    return house.client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stranger(house: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    url = f"http://127.0.0.1:{house.port}"
    async with httpx.AsyncClient(base_url=url, timeout=10, verify=PLAIN) as client:
        yield client


def assert_refused(answer: httpx.Response, status: int) -> Json:
    """In the envelope, with an id to ask after. Returns the error."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)


# Paths and methods


@pytest.mark.parametrize(
    "path", [CHAT, "/chat/completions", "/openai/deployments/anything/chat/completions?api-version=2024-10-21"]
)
async def test_every_spelling_of_the_path_reaches_the_model(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=QUESTION)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "You said: hello there"


@pytest.mark.parametrize("name", ["m", "org%2Fmodel-7b", "org/model-7b"])
async def test_azure_clients_name_the_model_in_the_path(client: httpx.AsyncClient, name: str) -> None:
    path = f"/openai/deployments/{name}/chat/completions?api-version=2024-10-21"
    assert (await client.post(path, json={"messages": QUESTION["messages"]})).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/v1"), ("POST", "/v1/chat"), ("POST", CHAT + "/"), ("GET", "/.env"),
        ("POST", "/config/update"), ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/v1/models/none"),
    ],
)  # fmt: skip
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert_refused(await client.request(method, path), 404)


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/openai/deployments/m/chat/completions"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_another_method_is_told_which_one_is_meant(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert_refused(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/metrics", "/healthz/live"])
async def test_what_can_only_be_read_cannot_be_written(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json={})
    assert_refused(answer, 405)
    assert "GET" in answer.headers["allow"]


# Bodies


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
async def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient, told: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    content: Any = b" " * (64 * 1024 + 1) if told else pieces()
    answer = await client.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert assert_refused(answer, 413)["code"] == "request_too_large"


async def test_a_body_of_just_the_limit_is_read(client: httpx.AsyncClient) -> None:
    body = orjson.dumps(QUESTION).ljust(64 * 1024)
    answer = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
async def test_what_is_not_plain_json_is_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert_refused(await client.post(CHAT, content=orjson.dumps(QUESTION), headers=headers), 415)


async def test_what_is_wrong_with_a_request_is_named(client: httpx.AsyncClient) -> None:
    error = assert_refused(await client.post(CHAT, json={**QUESTION, "temperature": 3}), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", "temperature")
    assert "3" in error["message"]


# Headers


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/nowhere"])
async def test_a_harmless_request_id_of_the_client_is_kept(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=QUESTION, headers={"x-request-id": "trace-1.2_3"})
    assert answer.headers.get_list("x-request-id") == ["trace-1.2_3"]


@pytest.mark.parametrize("given", [b"a b", b"x" * 129, b"<script>", b"", b"\xff", b"a\tb", b'","level":"error'])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, given: bytes) -> None:
    for path in (CHAT, "/nowhere"):
        answer = await client.post(path, json=QUESTION, headers=[(b"x-request-id", given)])
        assert re.fullmatch("req_[0-9a-f]{24}", answer.headers["x-request-id"])


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_says_who_gave_it(client: httpx.AsyncClient, stream: bool) -> None:
    headers = (await client.post(CHAT, json={**QUESTION, "stream": stream})).headers
    assert headers["x-gateway-provider"] == "p0"
    assert headers["x-gateway-model"] == "upstream-0"
    assert headers["x-gateway-attempts"] == "1"
    assert float(headers["x-gateway-overhead-ms"]) >= 0
    assert headers["x-request-id"]


async def test_a_providers_own_headers_stay_with_the_gateway(client: httpx.AsyncClient) -> None:
    headers = (await client.post(CHAT, json=QUESTION)).headers
    assert not {name for name in headers if name.startswith(("openai-", "x-ratelimit-", "set-cookie"))}


# Models


async def test_a_key_sees_the_models_it_may_use(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert {model["id"] for model in listed["data"]} == {"m", "org/model-7b"}
    few = (await client.get("/v1/models", headers={"authorization": f"Bearer {FEW_KEY}"})).json()
    assert [model["id"] for model in few["data"]] == ["org/model-7b"]


@pytest.mark.parametrize("spelt", ["org/model-7b", "org%2Fmodel-7b"])
async def test_a_model_whose_name_has_a_slash_is_found(client: httpx.AsyncClient, spelt: str) -> None:
    model = (await client.get(f"/v1/models/{spelt}")).json()
    assert (model["id"], model["object"], model["owned_by"]) == ("org/model-7b", "model", "p0")
    assert isinstance(model["created"], int)


async def test_a_model_that_is_not_allowed_looks_like_one_that_does_not_exist(client: httpx.AsyncClient) -> None:
    headers = {"authorization": f"Bearer {FEW_KEY}"}
    forbidden = assert_refused(await client.get("/v1/models/m", headers=headers), 404)
    assert forbidden == assert_refused(await client.get("/v1/models/x", headers=headers), 404)
    assert forbidden["code"] == "model_not_found"
    called = [
        assert_refused(await client.post(CHAT, json={**QUESTION, "model": name}, headers=headers), 404)
        for name in ("m", "x")
    ]
    assert called[0]["message"].replace("`m`", "`x`") == called[1]["message"]


# Keys


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"authorization": KEY},
        {"x-api-key": KEY}, {"api-key": KEY}, {"x-goog-api-key": KEY},
    ],
)  # fmt: skip
async def test_a_key_is_taken_from_where_each_sdk_puts_it(stranger: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await stranger.post(CHAT, json=QUESTION, headers=headers)).status_code == 200
    assert (await stranger.get("/v1/models", headers=headers)).status_code == 200


async def test_no_key_and_a_wrong_one_and_an_old_one_get_one_answer(stranger: httpx.AsyncClient) -> None:
    stored = sha256(KEY.encode()).hexdigest()
    told = []
    for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        for token in ("", "wrong", EXPIRED_KEY, stored, KEY + "x", KEY[:-1]):
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/m")):
                answer = await stranger.request(method, path, json=QUESTION, headers={name: token} if token else {})
                assert answer.headers["www-authenticate"] == "Bearer"
                told.append(assert_refused(answer, 401))
    assert told[0]["code"] == "invalid_api_key"
    assert all(error == told[0] for error in told)


async def test_a_wrong_key_is_not_made_good_by_another_header(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/v1/models", headers={"authorization": "Bearer wrong", "x-api-key": KEY})
    assert_refused(answer, 401)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:4000", 200), ("127.0.0.1", 200), ("[::1]:4000", 200), ("LocalHost", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example:4000", 403),
        ("x@localhost", 403), ("localhost/?", 403), ("localhost#", 403), ("0.0.0.0", 403), ("evil:80:127.0.0.1", 403),
    ],
)  # fmt: skip
async def test_without_keys_only_this_machine_is_served(keyless: httpx.AsyncClient, host: str, status: int) -> None:
    for method, path in (("POST", CHAT), ("GET", "/v1/models")):
        answer = await keyless.request(method, path, json=QUESTION, headers={"host": host})
        assert answer.status_code == status
        if status == 403:
            assert assert_refused(answer, 403)["code"] == "host_not_allowed"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyless() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway for which no keys are configured."""
    async with Simulator() as upstream, gateway(config(upstream.url).partition("keys:")[0]) as under_test:
        del under_test.client.headers["authorization"]
        yield under_test.client


# Health and metrics


@pytest.mark.parametrize("path", ["/healthz/live", "/healthz/ready", "/health/liveliness", "/health/readiness"])
async def test_health_is_told_to_anyone_and_tells_nothing_else(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)
    assert answer.status_code == 200
    assert set(answer.json()) <= {"status", "config"}
    assert b"127.0.0.1" not in answer.content


def counted(exposition: str, **labels: str) -> float:
    """How many calls with these labels the metrics tell of."""
    lines = [line for line in exposition.splitlines() if line.startswith("gateway_requests_total{")]
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


async def test_the_call_that_was_just_made_is_in_the_metrics(client: httpx.AsyncClient) -> None:
    labels = {"endpoint": "chat", "model": "org/model-7b", "provider": "p0", "key": "few", "status": "200"}
    before = counted((await client.get("/metrics")).text, **labels)
    question = {**QUESTION, "model": "org/model-7b"}
    await client.post(CHAT, json=question, headers={"authorization": f"Bearer {FEW_KEY}"})
    assert counted((await client.get("/metrics")).text, **labels) == before + 1


async def test_no_client_can_make_a_label(client: httpx.AsyncClient) -> None:
    for name in ("made-up", 'a"} 1\nfake 1'):
        await client.post(CHAT, json={**QUESTION, "model": name})
    metrics = (await client.get("/metrics")).text
    assert "made-up" not in metrics
    assert "fake" not in metrics
    assert counted(metrics, model="other", status="404") >= 1


async def test_metrics_with_a_key_of_their_own_open_to_no_other() -> None:
    async with gateway(config("http://127.0.0.1:9/v1", extra="server: {metrics_key: scrape-me-0001}")) as under_test:
        for token in (KEY, "x", "scrape-me-000", "scrape-me-0001x"):
            answer = await under_test.client.get("/metrics", headers={"authorization": f"Bearer {token}"})
            assert_refused(answer, 401)
        answer = await under_test.client.get("/metrics", headers={"authorization": "Bearer scrape-me-0001"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


# Secrets

UPSTREAM_KEY = "sk-canary-upstream-key-8c1f40d7a2"
PROMPT = "canary prompt"
ANSWER = "canary answer"
QUOTE = f"Incorrect key {UPSTREAM_KEY} provided, for {KEY}"

CHOICE = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
REPLIES: dict[str, tuple[int, str, bytes]] = {
    "good": (200, "application/json", orjson.dumps({"id": "x", "object": "chat.completion", "choices": [CHOICE]})),
    "error in a 200": (200, "application/json", orjson.dumps({"error": {"message": QUOTE}})),
    "page": (200, "text/html", f"<html>{QUOTE}</html>".encode()),
    "garbage": (200, "text/event-stream", f"data: {QUOTE}\n\n".encode()),
    **{
        str(status): (status, "application/json", orjson.dumps({"error": {"message": QUOTE, "type": QUOTE}}))
        for status in (401, 402, 403, 404, 429, 500, 503)
    },
    "400": (400, "application/json", orjson.dumps({"error": {"message": f"I will not answer: {PROMPT}"}})),
    "page 502": (502, "text/html", f"<html>{QUOTE}</html>".encode()),
}
"""What a provider answers, with what it should keep to itself in it."""


@asynccontextmanager
async def quoting(reply: tuple[int, str, bytes]) -> AsyncIterator[str]:
    """The base URL of a provider that always answers this."""
    status, media, body = reply
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", asked, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


def canaries(url: str) -> str:
    """A provider with a key of its own. A call has too little time to wait for one that is full."""
    return config(url, model="    timeouts: {total: 4s}").replace("api_key: sk-0", f"api_key: {UPSTREAM_KEY}")


async def seen_of(text: str) -> tuple[list[httpx.Response], bytes]:
    """The answers to a streamed and a whole call, and all that the gateway has logged and counted."""
    question = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
    async with gateway(text) as under_test:
        answers = [await under_test.client.post(CHAT, json={**question, "stream": stream}) for stream in (True, False)]
        pages = [await under_test.client.get(path) for path in ("/metrics", "/healthz/ready")]
    return answers, under_test.log + b"".join(page.content for page in pages)


@pytest.mark.parametrize("reply", REPLIES)
async def test_nothing_that_is_secret_is_told_whatever_a_provider_says(reply: str) -> None:
    async with quoting(REPLIES[reply]) as url:
        answers, kept = await seen_of(canaries(url))
    assert b'"event":"call"' in kept
    for secret in (UPSTREAM_KEY, KEY, PROMPT, ANSWER):
        assert secret.encode() not in kept, kept
    for answer in answers:
        assert UPSTREAM_KEY not in answer.text + repr(answer.headers)
        assert KEY not in answer.text + repr(answer.headers)
        assert "127.0.0.1" not in answer.text


async def test_a_provider_that_cannot_be_reached_is_not_described() -> None:
    answers, kept = await seen_of(canaries("http://127.0.0.1:9/v1"))
    assert UPSTREAM_KEY.encode() not in kept
    assert PROMPT.encode() not in kept
    for answer in answers:
        assert assert_refused(answer, 502)["code"] == "upstream_unreachable"
        assert UPSTREAM_KEY not in answer.text
        assert "127.0.0.1" not in answer.text


async def test_the_log_tells_of_a_refused_key_without_telling_the_key() -> None:
    async with gateway(config("http://127.0.0.1:9/v1")) as under_test:
        headers = {"authorization": "Bearer canary-of-a-wrong-key", "user-agent": "canary-agent"}
        assert_refused(await under_test.client.post(CHAT, json=QUESTION, headers=headers), 401)
    assert b'"error":"invalid_api_key"' in under_test.log
    assert b"canary" not in under_test.log
