"""
Fetches the files that a request links to, for providers that want bytes. Whoever may call may name any URL here, so:

* only https, without a user or a password, and only to addresses of the public internet (`is_public`);
* a name is resolved once, and what was checked is what is connected to: a name that means something else a moment later
  (DNS rebinding) leads nowhere. The certificate is verified against the name;
* a redirect is a new URL, checked as the first was;
* nothing is sent that could mean something to a server: no credentials, no cookies, no proxy out of the environment.
  It is httpx's bare transport that is used, which knows of none of these and follows no redirects;
* size, number, time and open connections are limited, and only types that a model can read are taken.

Whatever goes wrong is an `InvalidRequest` with the place in `param`. That a name leads to an address inside, and what
is there, is never said: it is told in the same words as a name that does not exist.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.core.call import Json
from gateway.core.errors import InvalidRequest
from gateway.surfaces.openai_media import Link, inlined, links
from gateway.upstream.transport import trusting_the_system

if TYPE_CHECKING:
    import httpx  # takes 0.1 s, and most gateways never fetch anything

Address = IPv4Address | IPv6Address
Allow = Callable[[Address], bool]
Resolve = Callable[[str, int], Iterable[str]]
"""The addresses of a host, for a port. May block: it runs in a thread. Raises OSError or UnicodeError."""

HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"gateway/{__version__}"}

NAMES_AT_ONCE = 4
"""Threads that resolve names. Our own, so that names which a client chose cannot hold up those of the providers."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

TYPES = re.compile(r"(image|audio|video)/[\w.+-]+|application/pdf|text/plain", re.ASCII)

IMAGES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
)
"""The images that every provider reads, by how they begin."""

UNTOLD = frozenset({"application/octet-stream", "binary/octet-stream"})
"""What servers say of bytes of which they know nothing."""

CODES = {"image_url": "invalid_image_url"}
"""OpenAI's own code for an image that it cannot fetch (recorded). For files it has none."""

UNREACHABLE = "its server could not be reached"
UNREADABLE = "its URL cannot be read"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is fetched."""

    files: int = 20
    """Links in one request. Bedrock takes no more images than that."""
    file_bytes: int = 20 * 2**20
    """One file. Gemini takes no more than that within a request, and the others less."""
    request_bytes: int = 32 * 2**20
    """All files of one request, each counted as often as it is linked."""
    seconds: float = 10.0
    """One file, from the first name to the last byte, redirects included."""
    redirects: int = 3
    at_once: int = 4
    """Files of one request that are fetched at the same time."""
    connections: int = 32
    """Files of all requests that are fetched at the same time: what waits for them in memory is bounded by this."""


class Media:
    """The way to files on the web. `allow` says which addresses are connected to."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allow: Allow | None = None,
        resolve: Resolve | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._tls = tls
        self._allow = allow or is_public
        self._resolve = resolve or addresses
        self._limits = limits or Limits()
        self._connections = asyncio.Semaphore(self._limits.connections)
        self._names = ThreadPoolExecutor(NAMES_AT_ONCE, "media-names")

    async def inline(self, body: Json, left: tuple[str, ...] = ()) -> Json:
        """The request with every linked file in it as a data URL; the same object when there is nothing to fetch.

        Addresses that begin as one of those `left` stay as they are.

        Raises InvalidRequest for what is not to be had, with its place in `param`. Never edits what it is given.
        """
        found = links(body, left)
        if not found:
            return body
        if len(found) > self._limits.files:
            problem = f"A request can link to at most {self._limits.files} files, not {len(found)}."
            raise InvalidRequest(problem, param=found[self._limits.files].place)
        await asyncio.to_thread(import_module, "httpx")  # the first time it would stop everybody else
        return inlined(body, await self._files(found))

    async def _files(self, found: list[Link]) -> dict[str, str]:
        """Data URLs by URL. The first one that fails ends the others."""
        uses = Counter(link.url for link in found)
        first = {link.url: link for link in reversed(found)}
        turns, room = asyncio.Semaphore(self._limits.at_once), _Room(self._limits.request_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    url: group.create_task(self._file(link, uses[url], turns, room)) for url, link in first.items()
                }
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def _file(self, link: Link, uses: int, turns: asyncio.Semaphore, room: _Room) -> str:
        """One file as a data URL. Every way to fail becomes words for the client here, and nowhere else."""
        import httpx

        try:
            async with turns, self._connections, asyncio.timeout(self._limits.seconds):
                media_type, file = await self._download(link.url)
            room.take(uses * len(file))
            return f"data:{media_type};base64,{b64encode(file).decode()}"
        except _Unfit as unfit:
            problem = str(unfit)
        except TimeoutError:
            problem = f"it took longer than {self._limits.seconds:g} seconds"
        except (httpx.HTTPError, OSError, UnicodeError):
            problem = UNREACHABLE
        said = f"Error while downloading the file that `{link.place}` links to: {problem}."
        raise InvalidRequest(said, param=link.place, code=CODES.get(link.kind)) from None

    async def _download(self, url: str) -> tuple[str, bytes]:
        """The media type and the bytes of what is there, or where it redirects to.

        Each step has a connection of its own: one that was verified for a name is never used for another.
        """
        import httpx

        at = httpx.URL()
        for _ in range(1 + self._limits.redirects):
            at = _checked(at, url)
            request = _request(at, await self._address(at))
            tls = self._tls or trusting_the_system()
            async with (
                httpx.AsyncHTTPTransport(verify=tls) as transport,
                aclosing(await transport.handle_async_request(request)) as answer,
            ):
                if answer.status_code not in REDIRECTS:
                    return await _read(answer, self._limits.file_bytes)
                url = answer.headers.get("location", "")
        raise _Unfit(f"it is behind more than {self._limits.redirects} redirects")

    async def _address(self, url: httpx.URL) -> Address:
        """Where to connect to. All that a name resolves to must be allowed: half an attack is one, too."""
        host = url.raw_host.decode("ascii")
        if _is_name_inside(host):
            raise _Unfit(UNREACHABLE)
        resolved = await asyncio.get_running_loop().run_in_executor(self._names, self._resolve, host, url.port or 443)
        found = [ip_address(address) for address in resolved]
        if not found or not all(self._allow(address) for address in found):
            raise _Unfit(UNREACHABLE)
        return found[0]


class _Unfit(Exception):
    """Why a file is not taken: the second half of a sentence about it."""


class _Room:
    """Bytes that the files of one request may still have together."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _Unfit(f"the files of this request are larger than {_mebibytes(self._size)} together")


# Questions: what is asked, and where.


def _checked(base: httpx.URL, url: str) -> httpx.URL:
    """A URL that may be asked for; one that is relative, as in a redirect, from `base`."""
    import httpx

    try:
        at = base.join(url)
    except (httpx.InvalidURL, ValueError):
        raise _Unfit(UNREADABLE) from None
    if at.scheme != "https" or not at.host:
        raise _Unfit("only https URLs are fetched")
    if at.port is not None and not 0 < at.port < 2**16:
        raise _Unfit(UNREADABLE)
    if at.userinfo:
        raise _Unfit("its URL holds a user or a password")
    return at


def _request(url: httpx.URL, address: Address) -> httpx.Request:
    """A question for exactly this address, which has to prove the name of the URL by its certificate.

    https://www.python-httpx.org/advanced/extensions/#sni_hostname
    """
    import httpx

    return httpx.Request(
        "GET",
        url.copy_with(host=str(address)),
        headers={"host": url.netloc.decode("ascii"), **HEADERS},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )


def addresses(host: str, port: int) -> list[str]:
    """What the system resolves a host to. It reads every spelling of an address, such as `2130706433` for 127.0.0.1."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


_NAMES_INSIDE = ("localhost", "local", "internal", "home.arpa")
"""Names that exist only within a network: RFC 6761, RFC 6762, RFC 8375, and ICANN's reservation of `internal`, which
Google's cloud and others have their metadata under."""


def _is_name_inside(host: str) -> bool:
    """Whether a name is meant for one network. One without a dot is looked up in that of the gateway."""
    name = host.lower().rstrip(".")
    return ("." not in name and ":" not in name) or f".{name}".endswith(tuple(f".{end}" for end in _NAMES_INSIDE))


_PUBLIC_V6 = ip_network("2000::/3")
"""All of IPv6 that is given out for the public internet. This leaves out what maps or embeds IPv4: `::ffff:0:0/96`,
NAT64's `64:ff9b::/96` and `64:ff9b:1::/48`; and `fd00:ec2::254`, the metadata of AWS."""

_SPECIAL = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host, reached from every virtual machine at this public address
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
"""What is not for everyone, or leads elsewhere (6to4, Teredo). Written out: `is_global` changes between Pythons.

https://www.iana.org/assignments/iana-ipv4-special-registry
https://www.iana.org/assignments/iana-ipv6-special-registry
"""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet's."""
    if address.version == 6 and address not in _PUBLIC_V6:
        return False
    return not any(address in block for block in _SPECIAL)


# Answers: what is taken.


async def _read(answer: httpx.Response, limit: int) -> tuple[str, bytes]:
    """The media type and the bytes of an answer. What is compressed is not taken: a little of it can be very much."""
    if answer.status_code != 200:
        raise _Unfit(f"its server answered with status {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _Unfit("its server compresses it")
    said = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not TYPES.fullmatch(said) and said not in UNTOLD:
        raise _Unfit("its type must be an image, audio, video, application/pdf or text/plain")
    file = bytearray()
    async for piece in answer.aiter_raw():
        file += piece
        if len(file) > limit:
            raise _Unfit(f"it is larger than {_mebibytes(limit)}")
    return _media_type(said, file), bytes(file)


def _media_type(said: str, file: bytes | bytearray) -> str:
    """What a file is. Of an image its bytes decide: many servers go by a name, and providers refuse what disagrees.

    So they do where a server says nothing of it, as object stores do unless they were told.
    """
    if not said.startswith("image/") and said not in UNTOLD:
        return said
    for media_type, beginning in IMAGES:
        if beginning.match(file):
            return media_type
    if said in UNTOLD and file.startswith(b"%PDF-"):
        return "application/pdf"
    raise _Unfit("it is not a PNG, JPEG, GIF or WebP image")


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:g} MiB"
