"""A gateway that is managed over HTTP, on a real socket, with SQLite."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from gateway.config.snapshot import PERMISSIONS
from gateway.core.secret import Secret
from gateway.store.database import Database
from tests.house.harness import KEY, Running, gateway

ROOT = "a-token-of-the-test-suite-root"
"""May do everything."""

ENCRYPTION_KEY = b64encode(bytes(32)).decode()
"""Under which secrets are kept."""


def token(permission: str) -> str:
    """One that may do this alone."""
    return f"a-token-of-the-test-suite-{permission}"


def configuration(folder: Path | None, more: str = "", encryption_key: str = ENCRYPTION_KEY) -> str:
    """The built-in provider, one key, a token for everything and one for each permission."""
    encryption = f"  encryption_key: {encryption_key}\n" if encryption_key else ""
    tokens = "".join(f"    - {{name: {each}, token: {token(each)}, permissions: [{each}]}}\n" for each in PERMISSIONS)
    state = f'state: {{database: "sqlite:///{folder}/gateway.db"}}\n' if folder else ""
    return f"""{state}
admin:
{encryption}  tokens:
    - {{name: root, token: {ROOT}, permissions: ["*"]}}
{tokens}
providers:
  echo: {{type: echo}}
models:
  m:
    price: {{input: 1, output: 2}}
    targets: [{{provider: echo, model: m}}]
keys:
  - {{name: tester, key: {KEY}, priority: high}}
{more}
"""


class Managed:
    """A gateway, and whoever manages it."""

    def __init__(self, running: Running) -> None:
        self.running = running

    async def ask(
        self, method: str, path: str, *, token: str = ROOT, headers: Mapping[str, str] | None = None, **sent: Any
    ) -> httpx.Response:
        """One request to the admin API."""
        shown = {"authorization": f"Bearer {token}", **(headers or {})}
        return await self.running.client.request(method, f"/api/{path}", headers=shown, **sent)

    async def call(self, key: str = KEY, model: str = "m") -> int:
        """One call, as a client makes it. Gives its status."""
        ask = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        headers = {"authorization": f"Bearer {key}"}
        return (await self.running.client.post("/v1/chat/completions", json=ask, headers=headers)).status_code


@asynccontextmanager
async def managed(
    folder: Path | None, more: str = "", *, encryption_key: str = ENCRYPTION_KEY
) -> AsyncIterator[Managed]:
    """A gateway with an empty database in this folder; without one where there is no folder."""
    if folder is not None:
        shutil.copy(_empty(), folder / "gateway.db")
    async with gateway(configuration(folder, more, encryption_key)) as running:
        yield Managed(running)


@cache
def _empty() -> Path:
    """A database with nothing in it: to make one takes longer than to copy it."""
    file = Path(mkdtemp()) / "gateway.db"
    database = Database(Secret(f"sqlite:///{file}"))
    database.prepare()
    database.close()
    return file
