"""What the server refuses by itself, whoever asks and whatever for."""

from __future__ import annotations

from gateway.core.errors import InvalidRequest, NotServed, Overloaded

MAX_HEAD = 64 * 1024
"""Bytes of a request's target and headers, spaces and colons between them not counted. Real ones stay far below 8 KiB;
other apps' cookies may add to that."""
MAX_HEADERS = 100

SOON = 1.0
"""Seconds after which somebody else will answer, or there will be room."""


def unreadable() -> InvalidRequest:
    return InvalidRequest("This is not an HTTP request the gateway can read.")


def not_one_host() -> InvalidRequest:
    return InvalidRequest("The request must have one Host header.")


def head_too_large() -> NotServed:
    return NotServed(431, f"The request's headers are too large: at most {MAX_HEADERS} headers and {MAX_HEAD} bytes.")


def too_large(limit: int) -> NotServed:
    """Of a body of more than `limit` bytes."""
    message = f"The request's body is larger than the {limit} bytes this gateway accepts (server.max_body)."
    return NotServed(413, message, code="request_too_large")


def too_slow(part: str) -> NotServed:
    """Of a request whose head or body does not come to its end."""
    return NotServed(
        408, f"The gateway has waited too long for the rest of the request's {part}.", code="request_timeout"
    )


def too_many() -> Overloaded:
    """Of a connection above the bound."""
    refusal = Overloaded("The gateway has as many connections as it takes; try again soon.")
    refusal.retry_after = SOON
    return refusal


def shutting_down() -> Overloaded:
    """Of a call for which there is no time left."""
    refusal = Overloaded("The gateway is shutting down; try again.", code="server_shutting_down")
    refusal.retry_after = SOON
    return refusal
