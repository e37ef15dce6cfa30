"""
Addresses that no provider has, and that give machines away: link-local ones, where clouds have their metadata services,
and those of such services that have an address elsewhere.

This machine and private networks are none of these: there are Ollama, vLLM and gateways of one's own.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

Address = IPv4Address | IPv6Address

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
        "64:ff9b:1::/48", "2002::/16", "2001::/32",  # IPv4 in other clothes: NAT64 of one's own, 6to4, Teredo
    )
)  # fmt: skip

_NAT64 = ip_network("64:ff9b::/96")
"""How all of IPv4 is reached from networks that have IPv6 alone (RFC 6052): its last 32 bits are what is meant."""


def is_refused(address: Address) -> bool:
    """Whether this is one of these addresses."""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address)
    return any(address in block for block in NEVER)
