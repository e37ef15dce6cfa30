"""What a conversation is known by, from its first call to its last. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

from gateway.core.call import Json


def prefix(body: Json) -> bytes:
    """A hash of what stays the same as a conversation goes on: tools, instructions, and the first thing that was said.

    It is also what providers' prompt caches know a conversation by, since those go by the beginning of the prompt.
    """
    messages = body.get("messages")
    start = list(_opening(messages)) if isinstance(messages, list) else body.get("input")
    said = orjson.dumps([body.get("tools"), start], option=orjson.OPT_SORT_KEYS)
    return blake2b(said, digest_size=16).digest()


def _opening(messages: list[Any]) -> list[Any]:
    """Everything up to the first message of the user, and that."""
    for place, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return messages[: place + 1]
    return messages
