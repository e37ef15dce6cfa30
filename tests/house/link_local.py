"""What a metadata service hears to which a provider's name leads. It runs in a network of its own, with that address.

`python -m tests.house.link_local` prints, for each way there, what went wrong and the bytes that were heard.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing

import uvloop

from gateway.core.errors import UpstreamError
from gateway.core.secret import Secret
from gateway.upstream.transport import HttpTransport
from tests.house.scripted import ask

METADATA = "169.254.169.254"
PORT = 8080
HERE = f"http://{METADATA}:{PORT}"
PROXY = Secret(f"http://user:password@{METADATA}:{PORT}")

WAYS: dict[str, Callable[[], tuple[HttpTransport, str]]] = {
    "plain": lambda: (HttpTransport(HERE), HERE),
    "proxy": lambda: (HttpTransport("http://provider.example", proxy=PROXY), "http://provider.example"),
    "tunnel": lambda: (HttpTransport("https://provider.example", proxy=PROXY), "https://provider.example"),
}


async def main() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, METADATA, PORT):
        for name, way in WAYS.items():
            transport, origin = way()
            async with aclosing(transport):
                try:
                    said = (await ask(transport, origin)).decode()
                except UpstreamError as error:
                    said = error.said
            sys.stdout.write(f"{name}: {said} {await heard.get()!r}\n")


if __name__ == "__main__":
    for command in ("ip link set lo up", f"ip address add {METADATA}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    uvloop.run(main())
