"""Who is calling: the token in a request's headers, and the key it stands for."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.config.snapshot import Key, Snapshot
from gateway.core.errors import NotServed
from gateway.policy import access

KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where SDKs put a key: OpenAI's, Anthropic's, Azure's, Google's. The first that is there counts."""

LOCAL_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b""})

RawHeaders = Iterable[tuple[bytes, bytes]]


def principal(headers: RawHeaders, snapshot: Snapshot, now: float) -> Key:
    """The key that these headers carry. Raises Unauthorized, or NotServed for a foreign host without keys."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    if not snapshot.keys:
        _refuse_foreign_host(found.get(b"host", b""))
    return access.admit(snapshot.keys, _token(found), now)


def bearer(headers: RawHeaders) -> bytes:
    """The bearer token, or nothing."""
    return next((_bare(value) for name, value in headers if name == b"authorization"), b"")


def _token(headers: dict[bytes, bytes]) -> bytes:
    value = next((headers[name] for name in KEY_HEADERS if name in headers), b"")
    return _bare(value)


def _bare(value: bytes) -> bytes:
    scheme, space, rest = value.partition(b" ")
    return rest.strip() if space and scheme.lower() == b"bearer" else value.strip()


def _refuse_foreign_host(host: bytes) -> None:
    """Without keys only this machine is served, not a web page that points its own name here (DNS rebinding)."""
    name = host.rpartition(b":")[0] if not host.endswith(b"]") and b":" in host else host
    if name.lower() not in LOCAL_HOSTS:
        raise NotServed(403, "Without configured keys the gateway answers to localhost only.", code="host_not_allowed")
