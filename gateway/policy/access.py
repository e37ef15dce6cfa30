"""Who may call, and what they may use. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest

from gateway.config.snapshot import Key
from gateway.core.errors import Unauthorized

ANONYMOUS = Key("anonymous", b"")
"""Everyone, where no keys are configured: the server then listens to this machine alone."""

REFUSED = "No valid API key was given. Send one as `Authorization: Bearer KEY`; the gateway's administrator makes them."
"""One answer for a missing, unknown and expired key, so that nothing can be learnt by trying."""


def admit(keys: Mapping[bytes, Key], token: bytes, now: float) -> Key:
    """The key this token is. Raises Unauthorized.

    Keys are looked up by their SHA-256, so the time it takes tells nothing about a key: whoever could shape the hash of
    what they send to approach a stored one would have broken SHA-256.
    """
    if not keys:
        return ANONYMOUS
    digest = sha256(token).digest()
    key = keys.get(digest)
    if key is None or not compare_digest(key.digest, digest) or (key.expires is not None and now >= key.expires):
        raise Unauthorized(REFUSED)
    return key


def may_use(key: Key, model: str) -> bool:
    """Whether a key may call a public name."""
    return not key.models or model in key.models or any(_matches(pattern, model) for pattern in key.models)


def _matches(pattern: str, name: str) -> bool:
    prefix, star, suffix = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(prefix) + len(suffix) and name.startswith(prefix) and name.endswith(suffix)
