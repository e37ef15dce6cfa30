"""OpenAI's chat completions, as OpenAI itself and every server that follows it wants them asked.

The client's own body goes out, with little changed: `ask` says what. The answers are read by `openai_answers`.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.core.call import Call, Json, Quirk, Target, UpstreamRequest
from gateway.dialects.hub import JSON_HEADERS, STREAM_HEADERS, wanted
from gateway.dialects.openai_answers import answer, refusal, stream

__all__ = ["answer", "ask", "refusal", "stream"]


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The client's body, with the target's model, its defaults where the client said nothing, and its quirks.

    The end user's name is left out unless the target wants it. A stream is asked for its usage, because every call is
    accounted for. What the quirks lost is in `dropped`.
    """
    body, dropped = _quirked(_body(call, target), target.quirks)
    headers = STREAM_HEADERS if call.stream else JSON_HEADERS
    return UpstreamRequest("POST", target.urls["chat"], headers + target.headers, orjson.dumps(body), dropped)


def _body(call: Call, target: Target) -> Json:
    body = wanted(call, target)
    body["model"] = target.model
    if call.stream:
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


def _quirked(body: Json, quirks: Sequence[Quirk]) -> tuple[Json, tuple[str, ...]]:
    dropped: tuple[str, ...] = ()
    for quirk in quirks:
        body, lost = quirk(body)
        dropped += lost
    return body, dropped
