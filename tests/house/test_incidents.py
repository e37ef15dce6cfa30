"""What has happened to other gateways, tried on this one. docs/security.md has the list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.server import Simulator
from tests.house.admin import ROOT, Managed, managed
from tests.house.harness import KEY, QUESTION, config, gateway
from tests.house.replicas import eventually
from tests.house.scripted import scripted
from tests.house.test_protocol import Answer, wire

CHAT = "/v1/chat/completions"
KNOWN = {"authorization": f"Bearer {KEY}"}

# Requests that would have the gateway, or its credentials, go elsewhere

STEERING = (
    *("api_base", "base_url", "api_key", "endpoint", "endpoint_url", "azure_endpoint", "custom_host", "callback_url"),
    *("proxy", "host", "url", "spec_path", "vertex_credentials", "aws_bedrock_runtime_endpoint", "model_info"),
)
"""Fields that have told other gateways where to send a call: CVE-2024-6587, CVE-2026-84377."""

HEADERS = (
    *("x-portkey-custom-host", "x-portkey-provider", "x-portkey-config", "api-base", "x-api-base", "x-base-url"),
    *("x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded", "x-litellm-api-base", "openai-organization"),
    *("x-aws-ec2-metadata-token", "metadata-flavor", "x-amz-security-token", "proxy-authorization", "cookie"),
)
"""Headers that have done so, and those that would open a metadata service: CVE-2025-66405."""


def nested(url: str) -> Iterator[Json]:
    """Every such field, at the top and in what other gateways read it from."""
    flat = dict.fromkeys(STEERING, url)
    rows = [{"model_name": "m", "litellm_params": {"model": "openai/x", **flat}}]
    yield flat
    for holder in ("user_config", "metadata", "litellm_params", "extra_body", "provider", "config", "router_settings"):
        yield {holder: {**flat, "model_list": rows, "nested": {"fallbacks": [flat]}}}
    yield {"model_list": rows}
    yield {"fallbacks": [{"model": "m", **flat}, url]}
    yield {"extra_headers": {"host": url, "authorization": "Bearer x", **dict.fromkeys(HEADERS, url)}}


@asynccontextmanager
async def stranger() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that nobody has configured, and the connections that came to it."""
    came: list[str] = []

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(repr(await reader.read(1000)))
        writer.close()

    server = await asyncio.start_server(heard, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", came


async def test_nothing_in_a_request_says_where_it_goes_or_with_which_credential() -> None:
    async with stranger() as (url, came), Simulator() as upstream, gateway(config(upstream.url)) as running:
        for body in nested(url):
            await running.client.post(CHAT, json={**QUESTION, **body})
            await running.client.post(CHAT, params=dict.fromkeys(STEERING, url), json=QUESTION)
        for name in HEADERS:
            await running.client.post(CHAT, headers={name: url}, json=QUESTION)
        assert upstream.received > len(HEADERS)
        for request in upstream.requests:
            assert request.header(b"authorization") == "Bearer sk-0"
            assert {name.decode() for name, _ in request.headers}.isdisjoint(HEADERS)
            assert request.path == "/v1/chat/completions"
    assert came == []


TEMPLATES = ("{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0.__class__}", "%(x)s%n", "${jndi:ldap://127.0.0.1/a}")


async def test_templates_and_formats_arrive_as_they_were_written() -> None:
    """CVE-2024-2952, CVE-2026-42203."""
    async with Simulator() as upstream, gateway(config(upstream.url)) as running:
        for text in TEMPLATES:
            body = {**QUESTION, "messages": [{"role": "user", "content": text}], "metadata": {"x": text}}
            answer = await running.client.post(CHAT, json=body)
            assert answer.json()["choices"][0]["message"]["content"] == f"You said: {text}"
            assert orjson.loads(upstream.requests[-1].body)["messages"][0]["content"] == text


# Ways around the door


def detours(path: str) -> Iterator[str]:
    """Other spellings of a path, that another reader may take for a public one or for the same."""
    head, _, last = path.rpartition("/")
    yield from (f"/{path}", f"{path}/", f"{path}//", f"/.{path}", f"/x/..{path}", f"{path}/.", f"{path}/..;/metrics")
    yield from (path.upper(), f"{head}/%2e/{last}", f"{head}%2f{last}", f"{head}/%{ord(last[0]):02x}{last[1:]}")
    yield from (f"/healthz/live/..{path}", f"/healthz/live/%2e%2e/%2e%2e{path}", f"{path};/healthz/live", f"{path}%00")
    yield from (
        f"{path}?/healthz/live",
        f"{path}#/dashboard",
        f"http://x{path}",
        f"/dashboard{path}",
        f"/dashboard/..{path}",
    )
    yield f"/dashboard/%2e%2e{quote(path, safe='')}"


HOSTS = ("localhost", "x/?", "x/#", "x@y", "/healthz/live", "localhost/dashboard", "")
"""CVE-2026-48710 and CVE-2026-49468: a path that is put together with the header is another one."""

CLOSED = ("/v1/models", "/v1/models/m", CHAT, "/metrics", "/api/keys", "/api/config", "/api/whoami")


async def answer_to(port: int, method: str, target: str, *lines: str) -> Answer:
    async with wire(port) as connection:
        length = ["Content-Length: 2", "Content-Type: application/json", "", "{}"] if method == "POST" else ["", ""]
        connection.send("\r\n".join((f"{method} {target} HTTP/1.1", *lines, *length)).encode())
        return await connection.answer()


async def test_no_spelling_of_a_path_or_of_a_host_leads_past_the_key(tmp_path: Path) -> None:
    async with managed(tmp_path, "server: {metrics_key: a-key-for-metrics-01}") as here:
        port = here.running.port
        asked = [(target, "localhost") for path in CLOSED for target in (path, *detours(path))]
        asked += [(path, host) for path in CLOSED for host in HOSTS]
        for target, host in asked:
            for method in ("GET", "POST"):
                answer = await answer_to(port, method, target, f"Host: {host}")
                assert answer.status in (400, 401, 404, 405), (method, target, host, answer)


SMUGGLED = (
    ("Content-Length: 2", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    ("Transfer-Encoding: xchunked",),
    ("Transfer-Encoding : chunked",),
    ("Transfer-Encoding:\x0bchunked",),
    ("Content-Length: 2", "Content-Length: 3"),
    ("Content-Length: +2",),
    ("Content-Length: 0x2",),
    ("Content-Length: 2, 2",),
    ("X-Folded: a", " Content-Length: 2"),
    ("X-Folded: a", "\tAuthorization: Bearer x"),
    ("X: a\nContent-Length: 2",),
    ("Host: again",),
)


@pytest.mark.parametrize("lines", SMUGGLED)
async def test_a_request_that_two_readers_could_read_differently_is_refused(lines: tuple[str, ...]) -> None:
    async with gateway(config("http://127.0.0.1:9/v1")) as running, wire(running.port) as connection:
        head = (f"POST {CHAT} HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", "Content-Type: application/json")
        connection.send("\r\n".join((*head, *lines, "", "{}")).encode() + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await connection.rest()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


# What is asked of the database

INJECTIONS = (
    *("' OR 1=1 --", "'; DROP TABLE records; --", "web' UNION SELECT sha256 FROM virtual_keys --", "%", "\\"),
    "$$; SELECT pg_sleep(9) --",
)

FILTERS = {
    "usage": ("by", "since", "until", "key", "model", "provider"),
    "requests": ("id", "key", "model", "provider", "outcome", "status", "since", "until", "cursor", "limit"),
    "audit": ("who", "action", "subject", "since", "until", "cursor", "limit"),
}


async def test_what_is_asked_of_usage_is_a_value_and_never_a_statement(tmp_path: Path) -> None:
    """CVE-2024-5225, CVE-2026-42208."""
    async with managed(tmp_path) as here:
        assert await here.call() == 200
        await eventually(lambda: _recorded(here))
        for text in INJECTIONS:
            for page, name in ((page, name) for page, names in FILTERS.items() for name in names):
                answer = await here.ask("GET", page, params={name: text})
                assert answer.status_code in (200, 400), (page, name, text, answer.text)
                assert answer.status_code == 400 or not _rows(answer.json()), (page, name, text)
            assert (await here.ask("GET", f"keys/{quote(text, safe='')}")).status_code == 404
            assert await here.call(key=text) == 401
        assert await _recorded(here)


async def _recorded(here: Managed) -> bool:
    return bool(_rows((await here.ask("GET", "requests")).json()))


def _rows(told: Any) -> list[Any]:
    """The one list in an answer."""
    return next((value for value in told.values() if isinstance(value, list)), [])


# Browsers


async def test_no_page_of_another_site_can_use_the_gateway_by_somebodys_browser(tmp_path: Path) -> None:
    origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    async with (
        managed(tmp_path) as here,
        Simulator() as upstream,
        gateway(config(upstream.url).partition("keys:")[0]) as open_,
    ):
        for path in (CHAT, "/v1/models", "/api/keys", "/dashboard"):
            for method in ("OPTIONS", "GET", "POST"):
                answer = await here.running.client.request(method, path, headers={**origin, "cookie": f"token={ROOT}"})
                assert not [name for name in answer.headers if name.startswith("access-control-")]
                assert "set-cookie" not in answer.headers
        del open_.client.headers["authorization"]
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            sent = await open_.client.post(
                CHAT, content=orjson.dumps(QUESTION), headers={**origin, "content-type": kind}
            )
            assert sent.status_code == 415  # what a browser sends elsewhere without asking first
        assert upstream.received == 0


@pytest.mark.parametrize(
    "path", ["//evil.example/dashboard/", "/dashboard//evil.example/", "/dashboard/\\evil.example", "/dashboard/"]
)
async def test_no_address_leads_to_another_site(path: str) -> None:
    async with gateway(config("http://127.0.0.1:9/v1")) as running:
        answer = await answer_to(running.port, "GET", path, "Host: evil.example")
    assert answer.headers.get("location", "../dashboard") == "../dashboard"


# Answers


@pytest.mark.parametrize("start", [b'{"a":', b"["])
async def test_an_answer_of_endless_depth_is_the_providers_failure(start: bytes) -> None:
    deep = start * 200_000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    for stream, kind, body in (
        (False, b"application/json", deep), (True, b"text/event-stream", b"data: " + deep + b"\n\n"),
    ):  # fmt: skip

        async def script(peer: Any, said: bytes = head % (kind, len(body)) + body) -> None:
            await peer.request()
            await peer.say(said)

        async with scripted(script) as upstream, gateway(config(f"{upstream.origin}/v1")) as running:
            answer = await running.client.post(CHAT, json={**QUESTION, "stream": stream})
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
