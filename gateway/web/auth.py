"""Who is calling: the token in a request's headers, and the key it stands for."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.snapshot import Key, Snapshot
from gateway.core.errors import NotServed
from gateway.policy import access

KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where SDKs put a key: OpenAI's, Anthropic's, Azure's, Google's. The first that is there counts."""

LOCAL_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b""})

Told = Mapping[bytes, bytes]
"""A request's headers by name, the first of each."""


def told(headers: list[tuple[bytes, bytes]]) -> Told:
    """A request's headers, as they are looked up here."""
    return dict(headers[::-1])


def principal(headers: Told, snapshot: Snapshot, now: float) -> Key:
    """The key that these headers carry. Raises Unauthorized, or NotServed for a foreign host without keys."""
    if not snapshot.keys:
        _refuse_foreign_host(headers.get(b"host", b""))
    return access.admit(snapshot.keys, token(headers), now)


def token(headers: Told) -> bytes:
    """The key that was sent, or nothing."""
    for name in KEY_HEADERS:
        if name in headers:
            scheme, space, rest = headers[name].partition(b" ")
            return rest.strip() if space and scheme.lower() == b"bearer" else headers[name].strip()
    return b""


def _refuse_foreign_host(host: bytes) -> None:
    """Without keys only this machine is served, not a web page that points its own name here (DNS rebinding)."""
    name = host.rpartition(b":")[0] if not host.endswith(b"]") and b":" in host else host
    if name.lower() not in LOCAL_HOSTS:
        raise NotServed(403, "Without configured keys the gateway answers to localhost only.", code="host_not_allowed")
