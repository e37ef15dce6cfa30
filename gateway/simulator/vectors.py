"""Embeddings without a model: a direction in space for each text, the same each time."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

from gateway.core.call import Json

MOST = 4096
"""Numbers in a vector. A client may ask for any number of them."""


def vector(text: str, size: int) -> list[float]:
    """A vector of length 1, or as near to it as 32 bits come."""
    size = max(1, min(size, MOST))
    digits = hashlib.shake_128(text.encode(errors="replace")).digest(size)
    raw = [digit - 127.5 for digit in digits]
    length = sum(number * number for number in raw) ** 0.5
    return [_single(number / length) for number in raw]


def in_base64(numbers: list[float]) -> str:
    """The numbers as little-endian floats of 32 bits, which is what OpenAI's own SDKs ask for."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def inputs(body: Json) -> list[str]:
    """What an OpenAI-shaped request wants embedded: text or token numbers, one or several."""
    given: Any = body.get("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        return []
    if all(isinstance(item, int) for item in given):
        return [" ".join(map(str, given))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given]


def openai_data(body: Json, size: int) -> list[Json]:
    """The `data` of an OpenAI-shaped answer."""
    spelt = in_base64 if body.get("encoding_format") == "base64" else list
    return [
        {"object": "embedding", "index": index, "embedding": spelt(vector(text, size))}
        for index, text in enumerate(inputs(body))
    ]


def words(texts: list[str]) -> int:
    """What embedding them is charged for."""
    return sum(len(text.split()) for text in texts)


def _single(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded
