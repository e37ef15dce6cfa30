"""
Where a provider made at run time may not be: at addresses that no provider has (`gateway.core.addresses`).

Whoever may make providers may have the gateway ask any server that it reaches, and sees what it answers: that is what a
provider is. This machine and private networks are allowed, of every type: to allow them to some types only would stop
nobody.

Looking at names tells of mistakes, in time and in words. A name may lead elsewhere once it was looked at: whoever owns
it is stopped where sockets are opened, by `gateway.upstream.transport`.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address
from urllib.parse import urlsplit

from gateway.core.addresses import Address, is_refused

Resolve = Callable[[str], Iterable[str]]
"""The addresses of a host. Blocks. Raises OSError or UnicodeError."""

NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
"""How clouds call the same services."""


def host_of(url: str) -> str:
    """The host in a URL, which has been read already."""
    return urlsplit(url).hostname or ""


def leads_nowhere_good(host: str) -> bool:
    """Whether a host, as it is written, is one of these. A name may still resolve to one: see `is_refused`."""
    if host.lower().rstrip(".") in NAMES:
        return True
    address = _written(host)
    return address is not None and is_refused(address)


def resolves_to_refused(host: str, resolve: Resolve) -> bool:
    """Whether one of the addresses that a host has now is one of these. Blocks."""
    try:
        return any(is_refused(ip_address(each)) for each in resolve(host))
    except (OSError, UnicodeError, ValueError):
        return False  # one that is not found is told of by a test, in better words


def addresses(host: str) -> list[str]:
    """What the system resolves a host to."""
    return [str(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _written(host: str) -> Address | None:
    """An address in any spelling that systems connect to: `2852039166` and `0xa9fe.43518` are 169.254.169.254."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
