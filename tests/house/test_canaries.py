"""Secrets stand everywhere where one can, everything is done that can go wrong, and then they are looked for."""

from __future__ import annotations

import asyncio
import gc
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import httpx
import orjson
import pytest

from gateway.app.reload import Source
from gateway.app.times import now
from gateway.config.resolve import Loaded, load_all
from gateway.core.call import Json
from gateway.core.errors import Failure
from gateway.simulator.faults import Faults, override
from gateway.simulator.server import Simulator
from gateway.sinks.logs import Logs, Writer
from tests.faults.cell import PLACES
from tests.faults.faults import FAULTS
from tests.house.canaries import Canaries, files, spellings
from tests.house.collector import collector
from tests.house.harness import Running, gateway
from tests.house.planted import CREDENTIALS, STATUSES, Garden, mistaken, repeating

CHAT = "/v1/chat/completions"
NAMELESS = "nameless"
"""The fault that a name server decides how long to wait for."""

PROMPT = ("prompt", "tool", "argument", "result", "metadata", "picture", "instructions")
"""Of whoever calls: they may read these in their own answers, and nobody else may anywhere."""


@dataclass
class Walk:
    """A gateway under way through everything, and what was seen of it."""

    garden: Garden
    running: Running
    seen: dict[str, bytes] = field(default_factory=dict)
    """What people see who may not see any secret."""
    answered: dict[str, bytes] = field(default_factory=dict)
    """What callers hear."""

    async def ask(self, method: str, path: str, *, admin: str = "", **sent: Any) -> httpx.Response:
        """One request; with the canary of an admin token, one to the admin API."""
        headers = {"authorization": f"Bearer {self.garden.canaries(admin)}"} if admin else {}
        headers |= sent.pop("headers", {})
        answer = await self.running.client.request(method, path, headers=headers, **sent)
        self.seen[f"{len(self.seen)} {method} {path} {answer.status_code}"] = whole(answer)
        return answer

    async def call(self, model: str, key: str = "client", **fields: Any) -> httpx.Response:
        """One call by a key of the configuration."""
        headers = {"authorization": f"Bearer {self.garden.canaries(key)}"}
        body = {"model": model, **said(self.garden), **fields}
        answer = await self.running.client.post(CHAT, json=body, headers=headers)
        self.answered[f"{len(self.answered)} {model} {answer.status_code}"] = whole(answer)
        return answer


def whole(answer: httpx.Response) -> bytes:
    return repr(answer.headers.raw).encode() + answer.content


def said(garden: Garden) -> Json:
    """A conversation with tools."""
    prompt, tool, argument, result, metadata, _, system = map(garden.canaries, PROMPT)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": orjson.dumps([argument]).decode()}}
    function = {"name": "f", "description": tool, "parameters": {"type": "object", "properties": {}}}
    return {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": prompt},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": result},
        ],
        "tools": [{"type": "function", "function": function}],
        "metadata": {"note": metadata},
    }


# What is set up


@contextmanager
def debugged(written: BinaryIO) -> Iterator[None]:
    """Writes all that libraries have to say, as the log has it, but at every level. Not of the test's own client."""
    root, client = logging.getLogger(), logging.getLogger("httpx")
    writer = Writer(written.fileno())
    logs, before = Logs(writer, now, human=False), root.level
    logs.setLevel(logging.DEBUG)
    root.addHandler(logs)
    root.setLevel(logging.DEBUG)
    client.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(logs)
        root.setLevel(before)
        client.setLevel(logging.NOTSET)
        writer.close()


@asynccontextmanager
async def walking(folder: Path, environ: pytest.MonkeyPatch) -> AsyncIterator[Walk]:
    """A gateway before providers that are well, that fail in every way, and that repeat all they are told."""
    garden, file = Garden(folder / "garden"), folder / "garden" / "gateway.yaml"
    environ.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{garden.canaries('collector')}")
    (folder / "state").mkdir()
    async with AsyncExitStack() as stack:
        providers = {name: each async for name, each in _providers(garden, stack)}
        file.write_text(_configuration(garden, providers, folder / "state"))
        source = Source(file, lambda: _read(file, garden), every=3600)
        running = await stack.enter_async_context(gateway(file.read_text(), environ=garden.environ, source=source))
        yield Walk(garden, running)


async def _providers(garden: Garden, stack: AsyncExitStack) -> AsyncIterator[tuple[str, Json]]:
    for place, fault in enumerate(FAULTS):
        type = fault.types[place % len(fault.types)]
        ill = await stack.enter_async_context(Simulator(override(Faults(), fault.simulate), type=type, play=fault.play))
        if fault.place != NAMELESS:
            origin = await stack.enter_async_context(PLACES[fault.place](ill))
            yield f"fault-{fault.name}", garden.provider(type, origin + ill.grammar.base)
    origin = await stack.enter_async_context(repeating())
    for type in CREDENTIALS:
        well = await stack.enter_async_context(Simulator(type=type))
        yield f"well-{type}", garden.provider(type, well.url)
        for status in STATUSES:
            yield f"repeat-{type}-{status}", garden.provider(type, f"{origin}/{status}")
    proxy = origin.replace("//", f"//user:{garden.canaries('proxy')}@")
    for scheme in ("http", "https"):
        url = f"{scheme}://provider.example/400/v1"
        yield f"proxied-{scheme}", {**garden.provider("openai", url), "proxy": proxy}


def _configuration(garden: Garden, providers: Mapping[str, Json], state: Path) -> str:
    times = {"connect": "400ms", "first_token": "500ms", "idle": "600ms", "total": "1500ms"}
    models = {
        name: {"targets": [{"provider": name, "model": "upstream"}], "timeouts": times, "retries": {"attempts": 1}}
        for name in providers
    }
    permissions = {"root": ["*"], "viewer": ["key.view"]}
    written = {
        "server": {"metrics_key": garden.plant("metrics key")},
        "state": {"database": f"sqlite:///{state}/gateway.db"},
        "admin": {
            "tokens": [
                {"name": name, "token": garden.plant(name), "permissions": each} for name, each in permissions.items()
            ],
            "encryption_key": garden.encryption_key("encryption key"),
            "previous_encryption_keys": [garden.encryption_key("previous key")],
        },
        "providers": providers,
        "models": models,
        "keys": [
            {"name": "web", "key": garden.plant("client"), "priority": "high"},
            {"name": "old", "key": garden.plant("expired client"), "expires": "2020-01-01"},
            {"name": "slow", "key": garden.plant("limited client"), "limits": {"requests_per_minute": 1}},
        ],
    }
    return orjson.dumps(written).decode()


DEFECT = "defect"


def _read(file: Path, garden: Garden) -> Loaded:
    if file.read_text() == DEFECT:
        raise RuntimeError(garden.canaries("defect"))
    return load_all(file, garden.environ)


# What is done


async def calls(walk: Walk) -> None:
    """Every model, streamed and whole."""
    models = walk.running.gateway.live.house.snapshot.models
    await asyncio.gather(*(walk.call(model, stream=stream) for model in models for stream in (True, False)))


async def odd_calls(walk: Walk) -> None:
    """What a caller may do wrong."""
    picture = f"https://user:{walk.garden.canaries('picture')}@127.0.0.1/{walk.garden.canaries('picture')}.png"
    linked = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}]
    await walk.call("well-gemini", messages=linked)
    await walk.call("well-gemini", messages=[{**linked[0], "content": [{"type": "image_url"}]}])
    await walk.call("well-openai", temperature=walk.garden.canaries("prompt"))
    await walk.call("well-openai", messages=[{"role": walk.garden.canaries("prompt"), "content": "x"}])
    await walk.call(walk.garden.canaries("prompt"))
    await walk.call("well-openai", logit_bias={walk.garden.canaries("prompt"): 1})
    known = {"authorization": f"Bearer {walk.garden.canaries('client')}", "content-type": "application/json"}
    broken = b'{"model": "' + walk.garden.canaries("prompt").encode()
    for body in (broken, broken + b'"}}', b"[" + broken, walk.garden.canaries("prompt").encode()):
        answer = await walk.running.client.post(CHAT, content=body, headers=known)
        walk.answered[f"{len(walk.answered)} broken {answer.status_code}"] = whole(answer)


async def strangers(walk: Walk) -> None:
    """Those who have no key, or no longer, or put one where none belongs."""
    wrong = walk.garden.canaries("wrong key")
    basic = b64encode(f"user:{wrong}".encode()).decode()
    body = {"model": "well-openai", **said(walk.garden)}
    shown: tuple[Mapping[str, str], ...] = (
        {"authorization": f"Bearer {wrong}"}, {"authorization": f"Basic {basic}"}, {"authorization": wrong},
        {"authorization": "", "x-api-key": wrong}, {"authorization": "", "api-key": wrong},
        {"authorization": "", "x-goog-api-key": wrong}, {"authorization": "", "cookie": f"key={wrong}"},
        {"authorization": f"Bearer {walk.garden.canaries('expired client')}"},
        {"authorization": f"Bearer {walk.garden.canaries('root')}"},
    )  # fmt: skip
    for headers in shown:
        await walk.ask("POST", CHAT, json=body, headers=headers)
        for path in ("/v1/models", "/v1/models/m", "/metrics", "/api/keys", "/api/config", "/dashboard", "/nothing"):
            await walk.ask("GET", path, headers=headers)
    for path in (f"{CHAT}?api_key={wrong}&key={wrong}", f"/v1/{wrong}", f"/openai/deployments/{wrong}{CHAT[3:]}"):
        await walk.ask("POST", path, json=body, headers={"authorization": ""})
    for _ in range(3):
        await walk.call("well-openai", key="limited client")
    await walk.ask("GET", "/metrics", headers=_bearer(walk, "metrics key"))


def _bearer(walk: Walk, place: str) -> dict[str, str]:
    return {"authorization": f"Bearer {walk.garden.canaries(place)}"}


async def mistakes(walk: Walk) -> None:
    """The file is read with every mistake, and with a defect of the program."""
    file = walk.garden.folder / "gateway.yaml"
    good = file.read_text()
    for text in (*mistaken(walk.garden.canaries), DEFECT, good):
        file.write_text(text)
        answer = await walk.ask("POST", "/api/reload", admin="root")
        assert (answer.status_code == 200) is (text is good), (text, answer.text)
    file.write_text(next(mistaken(walk.garden.canaries)))
    await walk.ask("POST", "/api/reload", admin="root")
    await walk.ask("GET", "/api/config", admin="root")
    file.write_text(good)


async def keys(walk: Walk) -> None:
    """Keys are made, used, replaced and ended. Each may be in the answer that makes it."""
    for place, path, sent in (
        ("a made key", "/api/keys", {"name": "made"}),
        ("a key in its place", "/api/keys/made/rotate", {"overlap": "1h"}),
        ("a key that ends", "/api/keys", {"name": "ends"}),
    ):
        answer = await walk.ask("POST", path, admin="root", json=sent)
        walk.garden.canaries.add(place, answer.json()["key"])
        walk.answered[f"made: {place}"] = walk.seen.popitem()[1]
        bearer = {"authorization": f"Bearer {answer.json()['key']}"}
        used = await walk.running.client.post(CHAT, json={"model": "well-openai", **said(walk.garden)}, headers=bearer)
        assert used.status_code == 200
    await walk.ask("DELETE", "/api/keys/ends", admin="root")
    await walk.ask("POST", CHAT, json={}, headers=bearer)
    await walk.ask("POST", "/api/keys", admin="root", json={"name": "x", "key": walk.garden.canaries("an own key")})
    await walk.ask("POST", "/api/keys", admin="viewer", json={"name": "x", "key": walk.garden.canaries("an own key")})


async def providers(walk: Walk) -> None:
    """Providers are made, looked at, changed, and asked for in ways that cannot be."""
    made = {name: walk.garden.canaries(f"made {name}") for name in ("api_key", "organization", "project")}
    repeats = walk.running.gateway.live.house.snapshot.providers["repeat-openai-400"].base_url
    proxy = f"http://user:{walk.garden.canaries('made proxy')}@127.0.0.1:9"
    good = {"name": "made", "type": "openai", "base_url": repeats, **made, "headers": {"x-team": made["api_key"]}}
    secret = walk.garden.canaries("a refused secret")
    await walk.ask("POST", "/api/providers", admin="root", json={**good, "models": ["made-model"]})
    await walk.ask("POST", "/api/providers", admin="root", json={**good, "name": "proxied", "proxy": proxy})
    for wrong in (
        {"base_url": f"https://u:{secret}@h/v1"}, {"proxy": f"ftp://u:{secret}@h"}, {"api_key": f"{secret}\n"},
        {"api_key": [secret]}, {"apikey": secret}, {"headers": {"x": [secret]}}, {"headers": secret},
        {"type": "bedrock", "secret_access_key": secret}, {"api_key": f"file:{secret}"}, {"ca_file": f"/{secret}"},
        {"base_url": "https://127.0.0.1:1/v1"},
    ):  # fmt: skip
        await walk.ask("POST", "/api/providers", admin="root", json={**good, "name": "wrong", **wrong})
        await walk.ask("PATCH", "/api/providers/made", admin="root", json=wrong)
        await walk.ask("POST", "/api/providers/discover", admin="root", json={**good, **wrong})
    for name in walk.running.gateway.live.house.snapshot.providers:
        if not name.startswith("fault-"):
            await walk.ask("POST", f"/api/providers/{name}/test", admin="root", json={})
    await walk.call("made-model")
    for name in ("made", "proxied"):
        await walk.ask("POST", f"/api/providers/{name}/models", admin="root", json={})
        await walk.ask("POST", f"/api/providers/{name}/test", admin="root", json={"model": "m"})
    await walk.ask("PATCH", "/api/providers/made", admin="root", json={"api_key": walk.garden.canaries("another key")})
    await walk.ask("GET", "/api/providers", admin="root")
    await walk.ask("DELETE", "/api/providers/made", admin="root")


async def pages(walk: Walk) -> None:
    """Everything that can be looked at."""
    for page in ("keys", "keys/made", "keys/web", "usage", "usage?by=model", "requests", "audit", "models", "config",
                 "whoami", "providers", "providers/well-bedrock", "nothing"):  # fmt: skip
        await walk.ask("GET", f"/api/{page}", admin="root")
    for path in ("/healthz/live", "/healthz/ready", "/dashboard", "/dashboard/types.json", "/dashboard/app.mjs"):
        await walk.ask("GET", path)
    await walk.ask("GET", "/metrics", headers=_bearer(walk, "metrics key"))


STEPS = (calls, odd_calls, strangers, mistakes, keys, providers, pages)


# What was seen


async def walked(folder: Path) -> tuple[Walk, dict[str, bytes]]:
    """Everything done, and everything captured that nobody's secret may be in."""
    with TemporaryFile() as debug:
        with pytest.MonkeyPatch.context() as environ, debugged(debug):
            async with collector(environ) as traces, walking(folder, environ) as walk:
                for step in STEPS:
                    await step(walk)
                kept = files(folder / "state")
            gc.collect()  # then asyncio tells of tasks that have failed
        debug.seek(0)
        logs = {"the log": walk.running.log, "the debug log": debug.read(), "the traces": b"".join(traces.bodies)}
    kept |= {f"{name}, in the end": text for name, text in files(folder / "state").items()}
    return walk, {**walk.seen, **kept, **logs}


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> tuple[Walk, dict[str, bytes]]:
    """The walk, once."""
    return asyncio.run(walked(tmp_path_factory.mktemp("canaries")))


def test_no_secret_and_no_prompt_is_in_any_log_metric_page_trace_or_file(after: tuple[Walk, dict[str, bytes]]) -> None:
    walk, captured = after
    found = walk.garden.canaries.found(captured)
    assert not found, "\n".join([f"{len(found)} leaks", *found[:40]])


def test_callers_hear_their_own_words_and_the_keys_made_for_them_and_nothing_else(
    after: tuple[Walk, dict[str, bytes]],
) -> None:
    walk, _ = after
    for name, answer in walk.answered.items():
        may = [name.removeprefix("made: ")] if name.startswith("made: ") else PROMPT
        assert not walk.garden.canaries.found({name: answer}, but=may)


def test_the_walk_came_everywhere(after: tuple[Walk, dict[str, bytes]]) -> None:
    walk, captured = after
    outcomes = {tried.outcome for entry in walk.running.entries for tried in entry.tried}
    assert {*Failure, "ok"} - outcomes == {Failure.SPENT, Failure.UNSUPPORTED}  # which no provider has a part in
    assert {entry.outcome for entry in walk.running.entries} >= {"ok", "upstream_error", "client_error", "limited"}
    for event in (b"defect", b"config_refused", b"admin_refused", b"admin_denied"):
        assert b'"event":"%b"' % event in walk.running.log
    assert {name.split()[-1] for name in walk.seen} >= {"200", "201", "400", "401", "403", "404", "500"}
    for name in ("the file gateway.db", "the debug log", "the traces"):
        assert captured[name]


@pytest.mark.parametrize(("spelling", "needle"), [*spellings(b"abcdefghijklmnopqrstuvwxyz")])
def test_a_secret_is_found_in_every_spelling(spelling: str, needle: bytes) -> None:
    canaries = Canaries()
    canaries.add("here", "sk-abcdefghijklmnopqrstuvwxyz")
    assert canaries.found({"text": b"before " + needle + b" after"})
