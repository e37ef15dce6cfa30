"""Secrets are looked for in all that processes leave: the server with its workers, and every command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from gateway.core.call import Json
from gateway.simulator.server import Simulator
from tests.house.canaries import files
from tests.house.collector import collector
from tests.house.commands import ROOT
from tests.house.harness import PLAIN, QUESTION
from tests.house.planted import Garden, mistaken, repeating
from tests.house.postgres import postgres
from tests.house.scripted import until
from tests.house.valkey import Valkey, valkey

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked at in /proc")

WITHIN = 30.0
"""Seconds for what takes one or two."""

OURS = ("gateway.yaml", "broken.yaml", "away.yaml", "litellm.yaml", "keys.csv")
"""Files that the test writes."""


@dataclass
class World:
    """A folder in which commands run, and what was captured of them."""

    garden: Garden
    folder: Path
    environ: Mapping[str, str]
    captured: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int | None] = field(default_factory=dict)
    """How each command has ended."""

    async def start(self, *arguments: str) -> Process:
        """A command that goes on."""
        command = (sys.executable, "-m", "gateway", *arguments)
        return await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=PIPE, cwd=self.folder, env=self.environ
        )

    async def run(self, *arguments: str) -> str:
        """One that ends. What it prints is captured, and returned."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), WITHIN)
        name = " ".join(arguments)
        self.captured[name], self.statuses[name] = out + err, process.returncode
        return out.decode()


@dataclass
class Server:
    """A gateway of two workers, and what it has said."""

    process: Process
    said: bytearray = field(default_factory=bytearray)

    async def listen(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while heard := await stream.read(2**16):
            self.said.extend(heard)

    def events(self, name: str) -> list[Json]:
        """What it has logged by this name."""
        lines = [line for line in bytes(self.said).splitlines(keepends=True) if line.endswith(b"}\n")]
        return [line for line in map(orjson.loads, lines) if line["event"] == name]

    @property
    def pids(self) -> list[int]:
        return [self.process.pid, *(each["pid"] for each in self.events("worker_started"))]


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Server]:
    """The server, until it has ended well."""
    server = Server(await world.start("serve", "--config", "gateway.yaml", "--port", "0", "--workers", "2"))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.listen(server.process.stdout))
        group.create_task(server.listen(server.process.stderr))
        try:
            await until(lambda: len(server.events("ready")) == 2, WITHIN)
            yield server
            server.process.terminate()
            assert await asyncio.wait_for(server.process.wait(), WITHIN) == 0
        finally:
            if server.process.returncode is None:
                server.process.kill()


# What is done


async def call(world: World, server: Server) -> None:
    """Calls that are well, refused, and answered by a provider that repeats its key; and the pages."""
    address = f"http://{server.events('ready')[0]['address']}"
    secret = world.garden.canaries
    async with httpx.AsyncClient(base_url=address, timeout=WITHIN, verify=PLAIN) as client:
        for key in ("client", "wrong key", "root"):
            for model in ("well", "repeats"):
                body = {**QUESTION, "model": model, "messages": [{"role": "user", "content": secret("prompt")}]}
                answer = await client.post(
                    "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret(key)}"}
                )
                heard = answer.content.replace(secret("prompt").encode(), b"")  # the caller's own words
                world.captured[f"{model} for {key}: {answer.status_code}"] = heard
        for path in ("config", "providers", "keys", "audit", "requests", "usage"):
            answer = await client.get(f"/api/{path}", headers={"authorization": f"Bearer {secret('root')}"})
            assert answer.status_code == 200
            world.captured[path] = answer.content
        answer = await client.get("/metrics", headers={"authorization": f"Bearer {secret('metrics key')}"})
        world.captured[f"metrics: {answer.status_code}"] = answer.content


async def make_keys(world: World) -> None:
    """Keys are made by command; of what that prints, the key alone may be in the clear."""
    for name, arguments in (
        ("made", ("keys", "create", "made", "--config", "gateway.yaml")),
        ("rotated", ("keys", "rotate", "made", "--config", "gateway.yaml")),
        ("begun with", ("init", "new.yaml")),
    ):
        out = await world.run(*arguments, "--json")
        key = orjson.loads(out)["key"]
        world.garden.canaries.add(f"a key that was {name}", key)
        printed = world.captured.pop(f"{' '.join(arguments)} --json")
        world.captured[" ".join(arguments)] = printed.replace(key.encode(), b"")
    await world.run("keys", "revoke", "made", "--config", "gateway.yaml")


COMMANDS = (
    ("check", "gateway.yaml"), ("check", "broken.yaml"),
    ("check", "--online", "gateway.yaml"), ("serve", "--config", "broken.yaml"),
    ("explain", "well", "--key", "web", "--config", "gateway.yaml"),
    ("providers", "list", "--config", "gateway.yaml"), ("providers", "test", "--config", "gateway.yaml"),
    ("providers", "models", "--config", "gateway.yaml"), ("keys", "list", "--config", "gateway.yaml"),
    ("usage", "--config", "gateway.yaml"), ("secrets", "rotate", "--config", "gateway.yaml"),
    ("keys", "list", "--config", "away.yaml"), ("usage", "--config", "away.yaml"),
    ("import", "litellm", "litellm.yaml"), ("import", "litellm-keys", "keys.csv", "--config", "gateway.yaml"),
)  # fmt: skip


async def run_commands(world: World) -> None:
    """Each command, where all is well and where it is not; three at a time."""
    room = asyncio.Semaphore(3)

    async def one(arguments: tuple[str, ...]) -> None:
        async with room:
            await world.run(*arguments)

    await asyncio.gather(*map(one, COMMANDS))


async def break_it(world: World, server: Server) -> None:
    """The file is spoilt, in some of the ways, while the server runs on it."""
    file = world.folder / "gateway.yaml"
    good = file.read_text()
    for number, text in enumerate(islice(mistaken(world.garden.canaries), 0, None, 15), 1):
        file.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda number=number: len(server.events("config_refused")) >= 2 * number, WITHIN)  # type: ignore[misc]
    file.write_text(good)


def look_at_processes(world: World, server: Server) -> None:
    """What everybody on the machine may read of them, and what the same user may."""
    for pid in server.pids:
        world.captured[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        world.captured[f"name of {pid}"] = Path(f"/proc/{pid}/comm").read_bytes()
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        given = {f"{name}={value}".encode() for name, value in world.environ.items()}
        world.captured[f"environment of {pid} beyond what was given"] = b"\n".join(set(environ) - given)


def rows(database: str) -> bytes:
    """All that is in PostgreSQL."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return b"\n".join(
            repr(connection.execute(SQL("TABLE {}").format(Identifier(name))).fetchall()).encode() for (name,) in tables
        )


def remembered(server: Valkey) -> bytes:
    """All that is in Valkey."""
    reading = {b"string": ("GET",), b"hash": ("HGETALL",), b"zset": ("ZRANGE", 0, -1), b"stream": ("XRANGE", "-", "+")}
    found: list[Any] = []
    for key in server.command("KEYS", "*"):
        command, *arguments = reading[server.command("TYPE", key)]
        found += [key, server.command(str(command), key, *arguments)]
    return repr(found).encode()


# What was seen


def planted(garden: Garden, folder: Path, url: str, repeats: str, redis: str, database: str) -> None:
    """Writes the files."""
    secret = garden.canaries
    providers = {
        "well": {**garden.provider("openai", url), "models": ["well"]},
        "repeats": {**garden.provider("openai", f"{repeats}/400/v1", "repeats"), "models": ["repeats"]},
        "bedrock": garden.provider("bedrock", f"{repeats}/401"),
    }
    text: Json = {
        "server": {"metrics_key": garden.plant("metrics key")},
        "state": {"redis": redis, "database": database},
        "admin": {
            "tokens": [{"name": "root", "token": garden.plant("root"), "permissions": ["*"]}],
            "encryption_key": garden.encryption_key("encryption key"),
        },
        "providers": providers,
        "keys": [{"name": "web", "key": garden.plant("client"), "limits": {"requests_per_minute": 100}}],
    }
    there = {
        "model": "openai/gpt",
        "api_key": secret("LiteLLM's provider"),
        "extra_headers": {"x": secret("its header")},
    }
    elsewhere = f"postgresql://u:{secret('its database')}@h/d"
    litellm = {
        "model_list": [{"model_name": "gpt", "litellm_params": there}],
        "general_settings": {"master_key": secret("its master key"), "database_url": elsewhere},
    }
    away = {**text, "state": {"database": database.replace("@", secret("wrong password") + "@")}}
    digest = sha256(secret("its client").encode()).hexdigest()
    for name, written in {
        "gateway.yaml": orjson.dumps(text).decode(),
        "away.yaml": orjson.dumps(away).decode(),
        "broken.yaml": next(mistaken(garden.canaries)),
        "litellm.yaml": orjson.dumps(litellm).decode(),
        "keys.csv": f"token,key_alias,models\n{digest},lite,{{}}\n",
    }.items():
        (folder / name).write_text(written)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[World, Valkey, str]]:
    """A folder with all files, and what they lead to: providers, Valkey, PostgreSQL, a collector of traces."""
    garden = Garden(folder / "garden")
    here = folder / "here"
    (here / "tmp").mkdir(parents=True)
    password = garden.canaries("database")
    with postgres() as sql, valkey(garden.canaries("redis")) as redis, pytest.MonkeyPatch.context() as environ:
        with psycopg.connect(sql.url(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE planted LOGIN PASSWORD '{password}'".encode())
            connection.execute(b"CREATE DATABASE planted OWNER planted")
        database = sql.url("planted").replace("tester:a%2Fsecret", f"planted:{password}")
        async with Simulator() as well, repeating() as repeats, collector(environ) as traces:
            planted(garden, here, well.url, repeats, redis.url(), database)
            given = {
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(here / "tmp"),
            }
            otel = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
                "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{garden.canaries('collector')}",
            }
            found = World(garden, here, {**given, **otel, **garden.environ})
            yield found, redis, database
            assert traces.bodies
            found.captured["traces"] = b"".join(traces.bodies)


async def lived(folder: Path) -> World:
    """Everything done, and everything captured."""
    async with world(folder) as (found, redis, database):
        async with serving(found) as server:
            await call(found, server)
            found.captured["Valkey"] = remembered(redis)
            await asyncio.gather(make_keys(found), run_commands(found))
            await break_it(found, server)
            look_at_processes(found, server)
            found.captured |= files(found.folder, OURS)
        found.captured |= {f"{name}, in the end": text for name, text in files(found.folder, OURS).items()}
        found.captured |= {"what the server said": bytes(server.said), "rows": rows(database)}
    return found


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world, once."""
    return asyncio.run(lived(tmp_path_factory.mktemp("canaries")))


def test_no_secret_is_in_what_a_process_prints_keeps_or_shows_of_itself(after: World) -> None:
    found = after.garden.canaries.found(after.captured)
    assert not found, "\n".join([f"{len(found)} leaks", *found[:40]])


def test_everything_was_tried(after: World) -> None:
    failing = {name for name, status in after.statuses.items() if status}
    assert failing == {
        *(f"{command} --config away.yaml" for command in ("keys list", "usage")),
        *(f"providers {command} --config gateway.yaml" for command in ("test", "models")),
        *("check broken.yaml", "serve --config broken.yaml"),
    }
    assert b"invalid_api_key" in after.captured["what the server said"]
    assert b"web" in after.captured["rows"]
    assert after.captured["Valkey"] != b"[]"
    assert {"well for wrong key: 401", "repeats for client: 400", "metrics: 200"} <= set(after.captured)
    assert b"GATEWAY_WORKER" in b"".join(
        text for name, text in after.captured.items() if name.startswith("environment")
    )
