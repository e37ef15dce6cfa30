"""The providers behind the gateway, and the configuration that leads to them.

Every public model has simulators of its own, and the name that a model has there ends with that of the key that called
it. So what a simulator has served is known by key and by public model, which is how the gateway counts, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson

from gateway.simulator.faults import Faults
from gateway.simulator.http import Grammar, Reply
from gateway.simulator.script import CHUNKED, LAST_CHUNK, End, Play, Step, Wait, Write, chunk, head, script
from gateway.simulator.server import COALESCE, Simulator
from tests.accounting.process import PATIENCE, serving
from tests.house.harness import PLAIN, gateway
from tests.house.valkey import valkey

KEYS = tuple(f"k{number}" for number in range(10))

STALL, CUT, BREAK, SLOW = "STALL", "CUT", "BREAK", "SLOW"
"""Words of a question. The simulators say back what they are asked, and behave as they are told by it."""


class Rate(NamedTuple):
    """A price as it is written: US dollars per million tokens."""

    input: float
    output: float
    cache_read: float


DEAR, WELL = Rate(3, 15, 1), Faults()


@dataclass(frozen=True)
class Scene:
    """A public model, and who serves it."""

    types: tuple[str, ...]
    """Of its providers, in the order in which they are asked."""
    upstream_model: str = "m-*"
    rate: Rate | None = DEAR
    more: str = ""
    """Further lines of its configuration."""
    play: Play | None = None
    """How the first provider answers."""
    faults: Faults = WELL
    """What the first provider does wrong."""


def marked(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """An answer that stops halfway, if the question has such a word in it."""
    text = b"".join(frame.data for frame in reply.frames)
    faults = Faults()
    if STALL.encode() in text:
        faults = Faults(stall_after=reply.output // 2)
    elif CUT.encode() in text:
        faults = Faults(cut_after=reply.output // 2)
    yield from script(reply, None, faults, COALESCE)


def breaking(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """A stream that breaks off when the prompt has been counted, and before the first word."""
    if BREAK.encode() in b"".join(frame.data for frame in reply.frames):
        yield Write(head(reply, CHUNKED) + chunk(reply.frames[0].data))
        yield End.CLOSE
    else:
        yield from script(reply, None, Faults(), COALESCE)


def hesitating(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """A stream that counts the prompt at once, and thinks before it speaks."""
    opening, *rest = (frame.data for frame in reply.frames)
    yield Write(head(reply, CHUNKED) + chunk(opening))
    yield Wait(0.2 if SLOW.encode() in b"".join(rest) else 0.02)
    yield Write(chunk(b"".join(rest)) + LAST_CHUNK, reply.output)
    yield End.COMPLETE


CHAT: Mapping[str, Scene] = {
    "openai": Scene(("openai",), rate=Rate(0.15, 0.6, 0.075)),
    "openai_compatible": Scene(("openai_compatible",), rate=None),
    "azure": Scene(("azure",), rate=Rate(2.5, 10, 1.25)),
    "ollama": Scene(("ollama",), rate=Rate(0, 0, 0)),
    "vllm": Scene(("vllm",), rate=Rate(0.1, 0.3, 0.1)),
    "groq": Scene(("groq",), rate=Rate(0.05, 0.08, 0.025)),
    "mistral": Scene(("mistral",), rate=Rate(0.4, 2, 0.04)),
    "cohere": Scene(("cohere",), rate=Rate(2.5, 10, 2.5)),
    "anthropic": Scene(("anthropic",), "claude-sonnet-4-5-*"),
    "bedrock": Scene(("bedrock",), "anthropic.claude-sonnet-4-*"),
    "gemini": Scene(("gemini",), "gemini-2.5-pro-*", Rate(1.25, 10, 0.31)),
}
"""One for each type of provider. All of them stall and break off where they are told to."""

EMBEDDED: Mapping[str, Scene] = {
    "embed-openai": Scene(("openai",), rate=Rate(0.02, 0, 0.02)),
    "embed-azure": Scene(("azure",)),
    "embed-mistral": Scene(("mistral",)),
    "embed-cohere": Scene(("cohere",)),
    "embed-bedrock": Scene(("bedrock",), "amazon.titan-embed-text-v2:0"),
    "embed-gemini": Scene(("gemini",), "gemini-embedding-001"),
}
"""Those that embed. The last two have names of their own, so that only the first key calls them."""

FLAKY = Faults(fail=(("500", 0.1), ("reset", 0.1), ("html", 0.1), ("error-in-200", 0.1)))
FAILING: Mapping[str, Scene] = {
    "failover": Scene(("openai", "anthropic"), faults=FLAKY, more="retries: {attempts: 3, budget: 100%}"),
    "broken": Scene(("anthropic", "gemini"), "claude-*", play=breaking, more="retries: {attempts: 3, budget: 100%}"),
}
HEDGED: Mapping[str, Scene] = {
    "hedged": Scene(("anthropic", "anthropic"), "claude", play=hesitating, more="hedge: 50%")
}
LEFT: Mapping[str, Scene] = {
    "drained": Scene(("openai",), faults=Faults(chunk_delay=0.01), more="on_hangup: drain"),
    "silent": Scene(("openai",), faults=Faults(fail=(("silent", 1.0),))),
}

SCENES: Mapping[str, Scene] = {**CHAT, **EMBEDDED, **FAILING, **HEDGED, **LEFT}

CHARGED_TWICE = frozenset({"broken"})
"""Models of which attempts fail that have been counted: the prompt, and the one token that Anthropic begins with."""
UNTOLD = frozenset({"embed-gemini"})
"""Models whose provider tells no usage."""


def public(model: str) -> str:
    """The public name of a scene's model, as it is configured."""
    return f"{model}-*" if "*" in SCENES[model].upstream_model else model


def asked(model: str, key: str) -> str:
    """The name that a key calls it by."""
    return public(model).replace("*", key)


def key_of(upstream_model: str) -> str:
    """Who called a model, by the name that it has at its simulator."""
    last = upstream_model.rpartition("-")[2]
    return last if last in KEYS else KEYS[0]


def secret(key: str) -> str:
    """What its client sends."""
    return f"a-key-of-the-accounts-{key}"


@dataclass(frozen=True)
class World:
    """A gateway and all that is behind it."""

    port: int
    client: httpx.AsyncClient
    simulators: Mapping[str, tuple[Simulator, ...]]
    """By model of a scene."""

    async def metrics(self) -> str:
        return (await self.client.get("/metrics")).text


@asynccontextmanager
async def world(database: Path, workers: int) -> AsyncIterator[World]:
    """Everything, on real sockets: with one worker in this process, or with several in processes of their own."""
    async with AsyncExitStack() as stack:
        simulators = {name: tuple(_simulators(scene)) for name, scene in SCENES.items()}
        for each in (each for group in simulators.values() for each in group):
            await stack.enter_async_context(each)
        text = _configuration(simulators)
        opened = alone(text, database) if workers == 1 else together(text, database, workers)
        port = await stack.enter_async_context(opened)
        url = f"http://127.0.0.1:{port}"
        yield World(
            port,
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=PLAIN)),
            simulators,
        )


@asynccontextmanager
async def alone(text: str, database: Path) -> AsyncIterator[int]:
    """A gateway in this process. Yields its port."""
    state = f"state: {{database: 'sqlite:///{database}'}}\n"
    async with gateway(state + text, heartbeat=0.5) as running:
        yield running.port


@asynccontextmanager
async def together(text: str, database: Path, workers: int) -> AsyncIterator[int]:
    """A gateway of several workers, and what they share. Yields its port. It is stopped in the end, not killed."""
    with valkey() as server:
        file = database.with_name("gateway.yaml")
        file.write_text(f"state: {{database: 'sqlite:///{database}', redis: '{server.url()}'}}\n{text}")
        async with serving(file, workers=workers) as (process, url):
            yield int(url.rpartition(":")[2])
            process.terminate()
            assert await process.wait() == 0


def _simulators(scene: Scene) -> Iterator[Simulator]:
    first, *others = scene.types
    play = marked if scene in CHAT.values() else scene.play
    yield Simulator(scene.faults, type=first, play=play, seed=7)
    for other in others:
        yield Simulator(type=other, play=scene.play if scene in HEDGED.values() else None)


ACCESS = {
    "azure": "base_url: '{url}', api_key: k, api_version: '2024-10-21'",
    "bedrock": "endpoint_url: '{url}', region: eu-west-1, access_key_id: AKIAEXAMPLE, secret_access_key: s3cr3t",
}


def _configuration(simulators: Mapping[str, tuple[Simulator, ...]]) -> str:
    lines = ["providers:"]
    for name, group in simulators.items():
        for number, (type, each) in enumerate(zip(SCENES[name].types, group, strict=True)):
            access = ACCESS.get(type, "base_url: '{url}', api_key: k").format(url=each.url)
            lines.append(f"  {name}-{number}: {{type: {type}, {access}}}")
    lines.append("models:")
    for name, scene in SCENES.items():
        lines += _model(name, scene)
    lines.append("keys:")
    lines += (f"  - {{name: {key}, key: {secret(key)}, priority: high}}" for key in KEYS)
    return "\n".join(lines)


def _model(name: str, scene: Scene) -> Iterator[str]:
    yield f"  '{public(name)}':"
    yield "    strategy: ordered"
    yield "    targets:"
    for number, _ in enumerate(scene.types):
        yield f"      - {{provider: {name}-{number}, model: '{scene.upstream_model}'}}"
    if scene.rate is not None:
        yield f"    price: {orjson.dumps(scene.rate._asdict()).decode()}"
    if scene.more:
        yield f"    {scene.more}"
