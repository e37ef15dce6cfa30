"""A configuration with a secret in every place that holds one, and a provider that repeats all it is told."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import orjson

from gateway.core.call import Json
from tests.house.canaries import Canaries

CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "openai": ("api_key", "organization", "project"),
    "azure": ("api_key",),
    "anthropic": ("api_key",),
    "gemini": ("api_key",),
    "cohere": ("api_key",),
    "mistral": ("api_key",),
    "bedrock": ("access_key_id", "secret_access_key", "session_token"),
    "openai_compatible": ("api_key",),
    "ollama": (),
    "vllm": ("api_key",),
}
"""By type of provider: the fields that are secret, besides the headers."""

ALSO: Mapping[str, Json] = {"azure": {"api_version": "2024-10-21"}, "bedrock": {"region": "us-east-1"}}

STATUSES = (200, 400, 401, 404, 429, 500)
"""With which the provider answers that repeats what it is told."""


class Garden:
    """Where secrets are planted: in the text itself, in variables and in files, in turns."""

    def __init__(self, folder: Path) -> None:
        self.canaries = Canaries()
        self.environ: dict[str, str] = {}
        self.folder = folder
        self._ways = cycle((self._written, self._in_a_variable, self._in_a_file))
        folder.mkdir()

    def plant(self, place: str, before: str = "sk-") -> str:
        """What to write at a place, for the secret that is meant."""
        return next(self._ways)(place, self.canaries(place, before))

    def provider(self, type: str, url: str, place: str = "") -> Json:
        """An account with its secrets, at an address."""
        place = place or type
        address = "endpoint_url" if type == "bedrock" else "base_url"
        secrets = {field: self.plant(f"{place}.{field}") for field in CREDENTIALS[type]}
        headers = {"headers": {"x-team": self.plant(f"{place}.headers")}}
        return {"type": type, address: url, **secrets, **headers, **ALSO.get(type, {})}

    def encryption_key(self, place: str) -> str:
        """32 bytes in base64."""
        key = self.canaries(place).removeprefix("sk-").ljust(32, "=").encode()
        return b64encode(key).decode()

    def _written(self, place: str, secret: str) -> str:
        return secret

    def _in_a_variable(self, place: str, secret: str) -> str:
        name = re.sub(r"\W", "_", place).upper()
        self.environ[name] = secret
        return f"${{{name}}}"

    def _in_a_file(self, place: str, secret: str) -> str:
        file = self.folder / f"{place}.txt"
        file.write_text(secret)
        return f"file:{file}"


def mistaken(canaries: Canaries) -> Iterator[str]:
    """Configurations with a secret beside, or in, each kind of mistake."""
    secret = canaries("a mistake")
    for line in (
        f"api_key: {secret}: x", f'api_key: "{secret}', f"api_key: [{secret}", f"api_key: {{{secret}: 1}}",
        f"api_key: [{secret}]", f"\tapi_key: {secret}", f"api_key: *{secret}", f"api_key: !{secret} x",
        f"api_key: ${{{secret}}}", f"api_key: '{secret} '", f"api_key: '{secret}\\n", f"apikey: {secret}",
        f"base_url: 'https://user:{secret}@host/v1'", f"base_url: 'https://host/v1?key={secret}'",
        f"proxy: 'socks5://user:{secret}@host:1'", f"proxy: 'http://user:{secret}@host:1/x'",
        f"headers: {{x-team: '{secret}\u00e9'}}", f"headers: {secret}", f"headers: [{secret}]",
        f"api_key: {secret}\n    api_key: {secret}", f"api_key: |\n      {secret}\n      {secret}", secret,
    ):  # fmt: skip
        yield f"providers:\n  p:\n    type: openai\n    {line}\n"
    for text in (
        f"keys: [{secret}]", f"keys: {{{secret}: x}}", f"keys: {secret}", f"keys: [{{name: a, sha256: {secret}}}]",
        f"keys: [{{name: a, key: {secret}, sha256: {secret}}}]", f"keys: [{{name: a, kye: {secret}}}]",
        f"keys: [{{name: a, key: {secret}}}, {{name: b, key: {secret}}}]", f"providers: {secret}", f"- {secret}",
        f"state: {{redis: 'redis://:{secret}@'}}", f"state: {{redis: 'redis://:{secret}@h?x={secret}'}}",
        f"state: {{database: 'mysql://user:{secret}@h/d'}}", f"state: {{database: 'postgresql://u:{secret}@h'}}",
        f"admin: {{tokens: [{{name: a, token: '{secret}', permissions: [x]}}]}}",
        f"server: {{metrics_key: [{secret}]}}", f"admin: {{encryption_key: {secret}}}",
        f"admin: {{previous_encryption_keys: [{secret}]}}", secret,
    ):  # fmt: skip
        yield f"{text}\n"


@asynccontextmanager
async def repeating() -> AsyncIterator[str]:
    """The origin of a server that tells all it was told, wherever an answer has room: the status is in its path.

    To a proxy's question it repeats the password.
    """
    server = await asyncio.start_server(_repeat, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    told = (head + await reader.readexactly(int(length[1]) if length else 0)).decode("latin-1")
    shown = re.search(r"(?:authorization|api-key): (?:\w+ )?([^\r]+)", told)
    status = re.search(r"/(\d{3})/", told)
    word = shown[1] if shown else ""
    error = {"message": told, "type": word, "code": word, "param": word, "status": word}
    body = orjson.dumps({"error": error, "message": told, "code": word, "__type": word})
    number = 407 if told.startswith("CONNECT") else int(status[1] if status else 500)
    lines = (f"HTTP/1.1 {number} {word}", f"x-request-id: {word}", f"x-amzn-errortype: {word}", "connection: close")
    writer.write("\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body)
    writer.close()
