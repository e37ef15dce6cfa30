"""Secrets stand everywhere where one can, everything is done that can go wrong, and then they are looked for."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.app import Source
from gateway.config.resolve import load_all
from gateway.core.call import Json
from gateway.simulator.faults import Faults, override
from gateway.simulator.server import Simulator
from tests.faults import plays
from tests.faults.cell import PLACES
from tests.faults.faults import FAULTS, STREAM, Fault
from tests.house.canaries import files
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

    async def call(self, model: str, **fields: Any) -> httpx.Response:
        """One call by the key of the configuration."""
        headers = {"authorization": f"Bearer {self.garden.canaries('client')}"}
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


@pytest.fixture
def debugged() -> Iterator[StringIO]:
    """All that libraries have to say, as if somebody had asked for it. Not the test's own client, which knows secrets."""
    said, root = StringIO(), logging.getLogger()
    handler, before, client = logging.StreamHandler(said), root.level, logging.getLogger("httpx")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    client.setLevel(logging.WARNING)
    yield said
    root.removeHandler(handler)
    root.setLevel(before)
    client.setLevel(logging.NOTSET)


FAULTY = tuple(
    replace(fault, types=(kind := fault.types[place % len(fault.types)],)) if kind else fault
    for place, fault in enumerate(FAULTS)
    for kind in [fault.types[place % len(fault.types)]]
    if fault.place != NAMELESS
)
