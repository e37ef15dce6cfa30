"""Addresses in a configuration: which ones can be used, and which listen to this machine alone.

No complaint repeats an address: people put credentials into them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from gateway.core.secret import Secret

_VISIBLE = re.compile(r"[!-~]+")


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


def is_loopback(host: str) -> bool:
    """Whether a server at this address is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split(text: str) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("is not a URL: it holds a space, or a character that is not ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port cannot be read") from None
    if not parts.scheme or not parts.hostname or port == 0:
        raise ValueError("is not a complete URL, such as https://host/v1")
    return parts
