"""The same answers as Anthropic tells them, for a gateway that has to translate.

https://docs.anthropic.com/en/api/messages and .../api/messages-streaming
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from bench.said import ANSWER, framed, text_of, with_length

USAGE = {"input_tokens": 480, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 220}
MESSAGE: dict[str, Any] = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}


def whole_answer() -> bytes:
    """A message of about 1.5 KB."""
    content = [{"type": "text", "text": ANSWER}]
    return with_length(orjson.dumps(MESSAGE | {"content": content, "stop_reason": "end_turn"}))


def event(type: str, **fields: Any) -> bytes:
    return b"event: " + type.encode() + b"\ndata: " + orjson.dumps({"type": type, **fields}) + b"\n\n"


@lru_cache
def stream_writes(chunks: int) -> tuple[bytes, ...]:
    """All writes of one stream: its opening, each piece of text, and its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    start = event("message_start", message=MESSAGE)
    block = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    texts = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text_of(chunk)})
        for chunk in range(chunks)
    ]
    stop = event("content_block_stop", index=0)
    delta = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=USAGE)
    end = stop + delta + event("message_stop")
    return (head + framed(start + block + event("ping")), *map(framed, texts), framed(end) + framed(b""))


WHOLE = whole_answer()
