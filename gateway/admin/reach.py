"""
Where a provider made at run time may not be: addresses that no provider has, and that give machines away.

Whoever may make providers may have the gateway ask any server that it reaches, and sees what it answers: that is what a
provider is. This machine and private networks are allowed, of every type, for there are Ollama, vLLM and gateways of
one's own; to allow them to some types only would stop nobody. What is refused is what is never a provider: link-local
addresses, where clouds have their metadata services, and those of such services that have an address elsewhere.

A name may lead elsewhere once it was looked at, so looking at names stops mistakes, and not whoever owns the name.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

Resolve = Callable[[str], Iterable[str]]
"""The addresses of a host. Blocks. Raises OSError or UnicodeError."""

REFUSED = "leads to an address that is no provider's: link-local, the metadata service of a cloud, or none at all"

NEVER = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "100.100.100.200/32",  # https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
        "168.63.129.16/32",  # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "192.0.0.192/32",  # Oracle's, of old
        "::/128", "fe80::/10", "ff00::/8",
        "fd00:ec2::/32",  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
        "fd20:ce::254/128",  # https://cloud.google.com/compute/docs/metadata/querying-metadata
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32",  # IPv4 in other clothes: NAT64, 6to4, Teredo
    )
)  # fmt: skip

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


def is_refused(address: Address) -> bool:
    """Whether this is one of these addresses."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in block for block in NEVER)


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
