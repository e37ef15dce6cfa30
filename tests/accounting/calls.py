"""The calls: which there are, and how each is made, heard out or left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import orjson

from gateway.core.call import Json
from tests.accounting.world import BREAK, CHAT, CUT, EMBEDDED, KEYS, SLOW, STALL, World, asked, secret
from tests.house.harness import PLAIN
from tests.house.test_protocol import wire

AT_ONCE = 24
"""Clients."""

PATIENCE = 30.0
"""Seconds after which a client gives up. None should."""

LEARNT = 3
"""Calls of each key to each model before any is cut."""

LONG = "oak " * 1100
"""So long that providers keep it in their caches."""

TOOL: Json = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}

FIELDS: dict[str, Json] = {
    "plain": {},
    "tools": {"tools": [TOOL]},
    "thought": {"reasoning_effort": "high"},
    "limit": {"max_tokens": 3},
    "user": {"user": "somebody"},
}
"""What is asked for beside an answer."""

WORDS = ("oak", "elm", "ash", "fir", "yew", "ivy", "fig", "bay", "box", "may")
"""A simulator counts a token for each. With the space behind it that is four bytes, as in prose."""


@dataclass(frozen=True)
class Call:
    """One call, and how its client behaves."""

    number: int
    key: str
    model: str
    body: Json
    path: str = "/v1/chat/completions"
    leaves: bytes | None = None
    """What the client waits for before it leaves; None: it hears the answer out."""
    secret: str = ""

    @property
    def id(self) -> str:
        """What every second client calls its request."""
        return f"call-{self.number}" if self.number % 2 or self.leaves is not None else ""


@dataclass(frozen=True)
class Seen:
    """What a client saw of its call."""

    call: Call
    id: str
    status: int
    complete: bool


def calls(count: int, seed: int) -> Iterator[Call]:
    """As many calls, the same ones for the same seed. From the first it can be learnt how models count."""
    chance, learnt = random.Random(seed), list(product(range(LEARNT), CHAT, KEYS))
    for number, (_, model, key) in zip(range(count), learnt, strict=False):
        yield Call(number, key, model, _chat(_text(chance), stream=True))
    for number in range(len(learnt), count):
        yield _KINDS[chance.choices(range(len(_KINDS)), _WEIGHTS)[0]](number, chance)


def in_turn(first: int) -> Iterator[Call]:
    """Calls to be made one after the other: a race is only told from a crowd where nobody else calls."""
    for number in range(40):
        word = SLOW if number > 25 and number % 3 == 0 else "oak"
        yield Call(first + number, KEYS[0], "hedged", _chat(f"{word} elm ash", stream=True))


def _chat(text: str, *, stream: bool, **fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], "stream": stream, **fields}


def _text(chance: random.Random, *marks: str, least: int = 3, most: int = 60) -> str:
    return " ".join([*marks, *chance.choices(WORDS, k=chance.randint(least, most))])


def _answered(number: int, chance: random.Random) -> Call:
    fields = FIELDS[chance.choice(list(FIELDS))]
    text = _text(chance, LONG) if chance.random() < 0.1 else _text(chance)
    body = _chat(text, stream=chance.random() < 0.6, **fields)
    return Call(number, chance.choice(KEYS), chance.choice(list(CHAT)), body)


def _left(number: int, chance: random.Random) -> Call:
    body = _chat(_text(chance, STALL, least=20), stream=True)
    return Call(number, chance.choice(KEYS), chance.choice(list(CHAT)), body, leaves=b"You")


def _cut(number: int, chance: random.Random) -> Call:
    return Call(
        number, chance.choice(KEYS), chance.choice(list(CHAT)), _chat(_text(chance, CUT, least=20), stream=True)
    )


def _embedded(number: int, chance: random.Random) -> Call:
    model = chance.choice(list(EMBEDDED))
    key = KEYS[0] if model in ("embed-bedrock", "embed-gemini") else chance.choice(KEYS)
    texts = [_text(chance, least=60, most=90) for _ in range(chance.randint(1, 4))]
    return Call(number, key, model, {"input": texts}, "/v1/embeddings")


def _failed_over(number: int, chance: random.Random) -> Call:
    return Call(number, chance.choice(KEYS), "failover", _chat(_text(chance), stream=chance.random() < 0.5))


def _broken(number: int, chance: random.Random) -> Call:
    marks = (BREAK,) if chance.random() < 0.3 else ()
    return Call(number, chance.choice(KEYS), "broken", _chat(_text(chance, *marks), stream=True))


def _drained(number: int, chance: random.Random) -> Call:
    # So long that it is still being told when the client has left.
    body = _chat(_text(chance, least=10, most=20), stream=True)
    return Call(number, chance.choice(KEYS), "drained", body, leaves=b"You")


def _unheard(number: int, chance: random.Random) -> Call:
    return Call(number, chance.choice(KEYS), "silent", _chat(_text(chance), stream=chance.random() < 0.5), leaves=b"")


def _refused(number: int, chance: random.Random) -> Call:
    key, body = chance.choice(KEYS), _chat("oak", stream=False)
    return chance.choice(
        (
            Call(number, key, "openai", {**body, "messages": 1}),
            Call(number, key, "nothing", body),
            Call(number, "", "openai", body, secret="nobody-knows-this-key"),
        )
    )


_KINDS = (_answered, _left, _cut, _embedded, _failed_over, _broken, _drained, _unheard, _refused)
_WEIGHTS = (60, 4, 4, 8, 8, 5, 3, 3, 5)


async def made(world: World, wanted: Iterable[Call]) -> list[Seen]:
    """Makes these calls, some of them at once."""
    left, seen = iter(wanted), list[Seen]()
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}", timeout=PATIENCE, verify=PLAIN) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(AT_ONCE):
            group.create_task(_client(world, client, left, seen))
    return seen


async def made_in_turn(world: World, wanted: Iterable[Call]) -> list[Seen]:
    """Makes these calls one after the other."""
    return [await _heard(world.client, call) for call in wanted]


async def _client(world: World, client: httpx.AsyncClient, left: Iterator[Call], seen: list[Seen]) -> None:
    for call in left:  # which all clients share
        answer = _heard(client, call) if call.leaves is None else _abandoned(world, call, call.leaves)
        seen.append(await answer)


def _request(call: Call) -> tuple[Json, dict[str, str]]:
    named = {"x-request-id": call.id} if call.id else {}
    body = {"model": call.model if call.model == "nothing" else asked(call.model, call.key or KEYS[0]), **call.body}
    return body, {"authorization": f"Bearer {call.secret or secret(call.key)}", **named}


async def _heard(client: httpx.AsyncClient, call: Call) -> Seen:
    body, headers = _request(call)
    answer = await client.post(call.path, json=body, headers=headers)
    complete = not body.get("stream") or answer.content.endswith(b"[DONE]\n\n")
    return Seen(call, answer.headers["x-request-id"], answer.status_code, answer.status_code == 200 and complete)


async def _abandoned(world: World, call: Call, until: bytes) -> Seen:
    body, headers = _request(call)
    content = orjson.dumps(body)
    lines = {"host": "here", "content-type": "application/json", "content-length": str(len(content)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    async with wire(world.port) as client, asyncio.timeout(PATIENCE):
        client.send(f"POST {call.path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        if until:
            await client.reader.readuntil(until)
    return Seen(call, call.id, 499, False)
