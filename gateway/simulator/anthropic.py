"""
Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages.

Shapes as recorded: a ping after the first block starts, spaces before the last brace of every event, an empty first
piece of each call's input, and cumulative usage at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from zlib import crc32

import orjson

from gateway.core.call import Headers, Json
from gateway.core.events import Reasoning, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator.anthropic_reading import blocks, complaint, question
from gateway.simulator.http import (
    EVENT_STREAM,
    UNIQUE,
    Account,
    Ask,
    Frame,
    Grammar,
    Refusal,
    Reply,
    Request,
    Route,
    bearer,
    parsed,
    whole,
)
from gateway.simulator.shapes import without_nulls
from gateway.simulator.story import Block, Output, Question, Quote, Story, sign, tell, token

MODELS = ("claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
ID = f"msg_01{UNIQUE}"
REQUEST_ID = f"req_01{UNIQUE}"

_RESET = b"2025-01-01T00:00:01Z"
HEADERS: Headers = ((b"request-id", REQUEST_ID.encode()),)
LIMITS: Headers = tuple(
    header
    for name, limit in (
        (b"requests", 4000),
        (b"input-tokens", 2_000_000),
        (b"output-tokens", 400_000),
        (b"tokens", 2_400_000),
    )
    for header in (
        (b"anthropic-ratelimit-%b-limit" % name, b"%d" % limit),
        (b"anthropic-ratelimit-%b-remaining" % name, b"%d" % (limit - 1)),
        (b"anthropic-ratelimit-%b-reset" % name, _RESET),
    )
)


def refusal(status: int, type: str, message: str) -> Refusal:
    """An error in the API's envelope: https://platform.claude.com/docs/en/api/errors."""
    envelope = {"type": "error", "error": {"type": type, "message": message}, "request_id": REQUEST_ID}
    return Refusal(
        status, envelope, ((b"x-should-retry", b"true" if status in (429, 529) or status >= 500 else b"false"),)
    )


def invalid(message: str) -> Refusal:
    """A request that the API will not take."""
    return refusal(400, "invalid_request_error", message)


ERRORS = {
    "400": invalid("messages.0.content: Input should be a valid string"),
    "401": refusal(401, "authentication_error", "invalid x-api-key"),
    "402": refusal(402, "billing_error", "There is a problem with your billing or payment information."),
    "403": refusal(403, "permission_error", "Your API key does not have permission to use the specified resource."),
    "404": refusal(404, "not_found_error", "model: simulated"),
    "409": refusal(409, "conflict_error", "The request conflicts with the current state of the resource."),
    "413": refusal(413, "request_too_large", "Request exceeds the maximum size"),
    "429": refusal(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to:"
        " https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage.",
    ),
    "500": refusal(500, "api_error", "Internal server error"),
    "503": refusal(503, "overloaded_error", "Overloaded"),
    "504": refusal(504, "timeout_error", "Request timed out"),
    "529": refusal(529, "overloaded_error", "Overloaded"),
    "insufficient-quota": invalid(
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or"
        " purchase credits."
    ),
    "context-length": invalid("prompt is too long: 208310 tokens > 200000 maximum"),
    "content-filter": invalid("Output blocked by content filtering policy"),
}
NOT_FOUND = refusal(404, "not_found_error", "Not Found")


def refuse(name: str, retry_after: float, message: str) -> Refusal:
    """The error of a name or a status."""
    if message:
        return invalid(message)
    found = ERRORS.get(name) or _by_status(int(name))
    if found.status != 429:
        return found
    limits = (
        (b"retry-after", b"%d" % -(-retry_after // 1)),
        (b"anthropic-ratelimit-requests-limit", b"50"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"anthropic-ratelimit-requests-reset", _RESET),
    )
    return replace(found, headers=(*found.headers, *limits))


def _by_status(status: int) -> Refusal:
    return refusal(status, "invalid_request_error" if status < 500 else "api_error", "The simulator was asked to fail.")


def turn_away(request: Request, account: Account) -> Refusal | None:
    """The key comes as `x-api-key`, or as a bearer token; and the version must be named."""
    given = request.header(b"x-api-key") or bearer(request)
    if not given:
        return refusal(401, "authentication_error", "x-api-key header is required")
    if given != (account.api_key or given):
        return ERRORS["401"]
    if not request.header(b"anthropic-version"):
        return invalid("anthropic-version: header is required")
    return None


def messages(ask: Ask) -> Reply | Refusal:
    """https://platform.claude.com/docs/en/api/messages, whole or streamed."""
    body = without_nulls(parsed(ask.body))
    if body is None:
        return invalid("The request body is not valid JSON: expected value at line 1 column 1 (char 0)")
    if told := complaint(body):
        return invalid(told)
    asked = question(body)
    story = tell(asked, partial(_call_id, ask.body))
    if body.get("stream"):
        reply = Reply(200, (*EVENT_STREAM, *HEADERS, *LIMITS), frames=tuple(frames(body, asked, story)))
    else:
        reply = whole(answer(body, asked, story), headers=(*HEADERS, *LIMITS))
    return replace(
        reply,
        model=body["model"],
        prompt_tokens=asked.prompt_tokens,
        cached=_cached(body, asked),
        output=len(story.output),
        id=ID,
    )


def _call_id(seed: bytes, index: int, name: str) -> str:
    return "toolu_01" + token(b"%d" % index + seed, 22)


def answer(body: Json, asked: Question, story: Story) -> Json:
    """The whole answer."""
    content: list[Json] = []
    if story.thought:
        content.append({"type": "thinking", "thinking": story.thought, "signature": sign(story.thought)})
    content += [_said(block) for block in story.blocks if block.kind in ("text", "quote")]
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.given} for call in story.calls]
    told = _message(body, content, _usage(body, asked, len(story.output)))
    return {**told, **_ending(story)}


def _said(block: Block) -> Json:
    text = "".join(event.text for event in block.events if isinstance(event, (Text, Quote)))
    quoted = [_citation(event) for event in block.events if isinstance(event, Quote)]
    return {**({"citations": quoted} if quoted else {}), "type": "text", "text": text}


def _citation(quote: Quote) -> Json:
    return {
        "type": "char_location",
        "cited_text": quote.text,
        "document_index": quote.document,
        "document_title": quote.title,
        "start_char_index": 0,
        "end_char_index": len(quote.text),
    }


def _message(body: Json, content: list[Json], usage: Json) -> Json:
    return {
        "model": body["model"],
        "id": ID,
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _ending(story: Story) -> Json:
    reason = "stop_sequence" if story.stop is not None and story.finish == "stop" else _STOPS[story.finish]
    return {"stop_reason": reason, "stop_sequence": story.stop if reason == "stop_sequence" else None}


def _usage(body: Json, asked: Question, output: int) -> Json:
    """What carries a cache marker counts as read from the cache, and not as input."""
    cached = _cached(body, asked)
    return {
        "input_tokens": asked.prompt_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def _cached(body: Json, asked: Question) -> int:
    given = [
        *blocks(body.get("system") or ""),
        *(b for message in body["messages"] for b in blocks(message["content"])),
    ]
    marked = [block for block in given if block.get("cache_control")]
    words = sum(len(block["text"].split()) for block in marked if block["type"] == "text")
    return min(words, asked.prompt_tokens)


def frames(body: Json, asked: Question, story: Story) -> Iterator[Frame]:
    """The answer as a stream. Its first event counts one token of output already, as the API's does."""
    usage = _usage(body, asked, len(story.output))
    opening = _message(body, [], {**usage, "output_tokens": min(1, len(story.output))})
    yield _event({"type": "message_start", "message": opening})
    yield from _blocks(story)
    cumulative = {name: usage[name] for name in usage if name not in ("cache_creation", "service_tier")}
    yield _event({"type": "message_delta", "delta": _ending(story), "usage": cumulative})
    yield _event({"type": "message_stop"})


PING = Frame(b'event: ping\ndata: {"type": "ping"}\n\n')


def _blocks(story: Story) -> Iterator[Frame]:
    # A call without arguments has one piece, which is empty.
    bare = {place for place, call in enumerate(story.calls) if call.arguments == "{}"}
    for index, block in enumerate(story.blocks):
        opening = _BLOCKS[block.kind](block.events[0])
        yield _event({"type": "content_block_start", "index": index, "content_block": opening})
        if index == 0:
            yield PING
        for event in block.events:
            if isinstance(event, Quote):
                cited = {"type": "citations_delta", "citation": _citation(event)}
                yield _event({"type": "content_block_delta", "index": index, "delta": cited})
            yield _event({"type": "content_block_delta", "index": index, "delta": _delta(event, bare)}, tokens=1)
        if block.kind == "thought":
            signed = {"type": "signature_delta", "signature": sign(story.thought)}
            yield _event({"type": "content_block_delta", "index": index, "delta": signed})
        yield _event({"type": "content_block_stop", "index": index})


def _call_block(event: Output) -> Json:
    assert isinstance(event, ToolCallStarted)
    return {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}


_BLOCKS: dict[str, Callable[[Output], Json]] = {
    "thought": lambda _: {"type": "thinking", "thinking": "", "signature": ""},
    "text": lambda _: {"type": "text", "text": ""},
    "quote": lambda _: {"type": "text", "text": "", "citations": []},
    "call": _call_block,
}


def _delta(event: Output, bare: set[int]) -> Json:
    match event:
        case Reasoning(text=text):
            return {"type": "thinking_delta", "thinking": text}
        case Text(text=text) | Quote(text=text):
            return {"type": "text_delta", "text": text}
        case ToolCallStarted():
            return {"type": "input_json_delta", "partial_json": ""}
        case ToolCallArguments(index=index, json=json):
            return {"type": "input_json_delta", "partial_json": "" if index in bare else json}


def _event(content: Json, tokens: int = 0) -> Frame:
    spelt = orjson.dumps(content)
    spaces = b" " * (crc32(spelt) % 16)
    return Frame(b"event: %b\ndata: %b%b}\n\n" % (content["type"].encode(), spelt[:-1], spaces), tokens)


def models(ask: Ask) -> Reply | Refusal:
    """https://platform.claude.com/docs/en/api/models-list, on one page."""
    (name,), known = ask.named, ask.account.models
    if name is None:
        ends = {"first_id": known[0] if known else None, "last_id": known[-1] if known else None}
        return whole({"data": [_model(model) for model in known], "has_more": False, **ends}, headers=HEADERS)
    return whole(_model(name), headers=HEADERS) if name in known else refusal(404, "not_found_error", f"model: {name}")


def _model(name: str) -> Json:
    shown = name.replace("-", " ").title()
    return {"type": "model", "id": name, "display_name": shown, "created_at": "2025-01-01T00:00:00Z"}


def lost(method: str, path: str) -> Refusal:
    """For a path that it does not have."""
    return NOT_FOUND


GRAMMAR = Grammar(
    base="/v1",
    models=MODELS,
    routes=(Route("POST", "/messages", messages), Route("GET", "/models(?:/(.+))?", models)),
    turn_away=turn_away,
    refuse=refuse,
    lost=lost,
    broken=b"event: error\ndata: " + orjson.dumps(ERRORS["529"].envelope) + b"\n\n",
    garbage=b'event: content_block_delta\ndata: \xff\xfe{"delta": [NaN, \x00\n\n',
    headers=HEADERS,
)
