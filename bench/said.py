"""What the provider says, in whichever grammar, and the HTTP around it."""

from __future__ import annotations

ANSWER = "The quick brown fox jumps over the lazy dog. " * 26

HEADERS = (
    b"x-request-id: req_5b1f2c0d9e8a47f6\r\nopenai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 30000\r\nx-ratelimit-limit-tokens: 150000000\r\n"
    b"x-ratelimit-remaining-requests: 29999\r\nx-ratelimit-remaining-tokens: 149999000\r\n"
)


def text_of(chunk: int) -> str:
    """What one chunk of a stream says."""
    return f" word{chunk}"


def with_length(content: bytes) -> bytes:
    """A whole answer with its head."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + HEADERS
    return head + b"content-length: %d\r\n\r\n" % len(content) + content


def framed(content: bytes) -> bytes:
    """One chunk of the chunked transfer coding: https://www.rfc-editor.org/rfc/rfc9112#section-7.1"""
    return b"%x\r\n%s\r\n" % (len(content), content)
