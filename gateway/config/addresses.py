"""Addresses in a configuration: which ones can be used, and which listen to this machine alone.

No complaint repeats an address: people put credentials into them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

from gateway.core.secret import Secret

REDIS_FORMS = (
    "redis://user:password@host:6379/0, rediss:// with TLS, or unix:///run/redis.sock; "
    "within a password / is %2F, ? is %3F and # is %23"
)

REDIS_OPTIONS = {
    "db": re.compile(r"[0-9]{1,5}"),
    "ssl_ca_certs": re.compile(r"/.+"),
    "ssl_cert_reqs": re.compile(r"none|optional|required"),
}
"""What may follow the ? in an address of Redis: https://redis.readthedocs.io/en/stable/connections.html. On any other
option its client fails when it connects, which is too late."""

DATABASE_FORMS = (
    "sqlite:///gateway.db, or postgresql://user:password@host:5432/name; "
    "within a password / is %2F, ? is %3F and # is %23"
)

_VISIBLE = re.compile(r"[!-~]+")
_DATABASE = re.compile(r"sqlite:///[^?#:\0]*[^?#:/\0]|postgresql://([^/?#@]*@)?[^/?#@]+/[^/?#@]+(\?[^#]+)?")
_REDIS = re.compile(r"(rediss?://([^/?#]*@)?[^/?#@:][^/?#@]*(/[0-9]{0,5})?|unix://([^/?#]*@)?/[^?#]+)(\?[^#]*)?")


def base_url(text: str) -> str:
    """A prefix for the paths of an API, without a slash at its end. Raises ValueError."""
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("is not a URL that begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password; credentials belong into api_key")
    if "?" in text or "#" in text:
        raise ValueError("holds a ? or a #; it must be a prefix that paths can be joined to")
    return text.rstrip("/")


def proxy_url(text: str) -> Secret:
    """`http://[user:password@]host[:port]`. Raises ValueError."""
    parts = _split(text)
    if parts.scheme != "http":
        raise ValueError("is not a proxy that is supported; only http:// is")
    if parts.path.strip("/") or "?" in text or "#" in text:
        raise ValueError("holds more than http://user:password@host:port")
    return Secret(text)


def redis_url(text: str) -> Secret:
    """`redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, or `unix:///path`. Raises ValueError."""
    if not _REDIS.fullmatch(text):
        raise ValueError(f"is not an address of Redis; write {REDIS_FORMS}")
    parts = _parts(text)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        known = REDIS_OPTIONS.get(name)
        if not known or not known.fullmatch(value):
            raise ValueError(f"holds an option that cannot be read; there are {', '.join(REDIS_OPTIONS)}")
        if name.startswith("ssl_") and parts.scheme != "rediss":
            raise ValueError("holds an option of TLS, which only rediss:// has")
    return Secret(text)


def database_url(text: str) -> Secret:
    """`sqlite:///path`, or `postgresql://[user[:password]@]host[:port]/name[?options]`. Raises ValueError."""
    if not _DATABASE.fullmatch(text):
        raise ValueError(f"is not an address of a database; write {DATABASE_FORMS}")
    if not text.startswith("sqlite"):
        _parts(text)
    return Secret(text)


def is_loopback(host: str) -> bool:
    """Whether a server at this address is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split(text: str) -> SplitResult:
    parts = _parts(text)
    if not parts.scheme or not parts.hostname:
        raise ValueError("is not a complete URL, such as https://host/v1")
    return parts


def _parts(text: str) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("is not a URL: it holds a space, or a character that is not ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port cannot be read") from None
    if port == 0:
        raise ValueError("is not a URL that can be reached: there is no port 0")
    return parts
