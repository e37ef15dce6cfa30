"""Token counts where the provider reported none. Estimates are marked as such wherever they are shown."""

from __future__ import annotations

from gateway.core.events import Usage

BYTES_PER_TOKEN = 4
"""English prose runs at about four bytes a token (OpenAI, "What are tokens and how to count them?")."""


def usage(asked: int, carried: int) -> Usage:
    """From the bytes of the request and the characters of output that were carried to the client."""
    return Usage(input=_tokens(asked), output=_tokens(carried))


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
