"""
Mistral's API: https://docs.mistral.ai/api.

Shapes as recorded: calls come whole in the last chunk, together with the reason and the usage; reasoning is a list of
chunks inside the content; calls have ids of nine letters and digits; and errors have three shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from gateway.core.call import Headers, Json
from gateway.core.events import Reasoning, Text
from gateway.simulator import openai_reading, vectors
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
from gateway.simulator.mistral_reading import EMBEDDINGS, check, refusal, unprocessable, wrong_order
from gateway.simulator.shapes import first_mismatch, without_nulls
from gateway.simulator.story import Output, Question, Quote, Story, padding, remembered, tell, token

MODELS = ("mistral-large-latest", "mistral-small-latest", "mistral-embed")
HEADERS: Headers = ((b"mistral-correlation-id", UNIQUE.encode()),)
LIMITS: Headers = (
    (b"x-ratelimit-limit-tokens-minute", b"100000"),
    (b"x-ratelimit-remaining-tokens-minute", b"99985"),
    (b"x-ratelimit-limit-req-minute", b"100"),
    (b"x-ratelimit-remaining-req-minute", b"99"),
)
VECTOR = 1024
MOST_INPUTS = 512
"""Texts in one request for embeddings."""


WRONG_KEY = Refusal(401, {"detail": "Invalid API Key"})
NO_KEY = Refusal(401, {"detail": "Unauthorized"})
UNREADABLE = Refusal(422, {"detail": [{"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}]})
ERRORS = {
    "400": wrong_order("Expected last role User or Tool (or Assistant with prefix True) for serving but got system"),
    "401": WRONG_KEY,
    "403": Refusal(403, {"detail": "You do not have access to this resource."}),
    "404": Refusal(404, {"detail": "Not Found"}),
    "422": UNREADABLE,
    "429": refusal(429, "rate_limited", "Rate limit exceeded", "1300"),
    "500": refusal(500, "internal_server_error", "Internal server error", "1000"),
    "503": refusal(503, "unreachable_backend", "Service unavailable.", "1100"),
    "insufficient-quota": Refusal(402, {"detail": "Inactive subscription or usage limit reached"}),
    "context-length": refusal(
        400,
        "invalid_request_prompt_too_long",
        "Prompt contains 140011 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
        "3051",
    ),
    "content-filter": refusal(403, "content_moderation", "The content was blocked by moderation.", "2001"),
}


def refuse(name: str, retry_after: float, message: str) -> Refusal:
    """The error of a name or a status."""
    if message:
        return refusal(400, "invalid_request_invalid_args", message, "3051")
    found = ERRORS.get(name) or refusal(int(name), "simulated", "The simulator was asked to fail.", None)
    if name != "429":
        return found
    limits = ((b"x-ratelimit-remaining-req-minute", b"0"), (b"retry-after", b"%d" % -(-retry_after // 1)))
    return replace(found, headers=limits)


def turn_away(request: Request, account: Account) -> Refusal | None:
    """The key is a bearer token."""
    given = bearer(request)
    if not given:
        return NO_KEY
    return None if given == (account.api_key or given) else WRONG_KEY


# Chat


def chat(ask: Ask) -> Reply | Refusal:
    """https://docs.mistral.ai/api/endpoint/chat, whole or streamed."""
    body = without_nulls(parsed(ask.body))
    if body is None:
        return UNREADABLE
    if refused := check(body):
        return refused
    asked = openai_reading.question(
        body, thinks=openai_reading.shows_reasoning(body) or body.get("prompt_mode") == "reasoning"
    )
    count = body.get("n") or 1
    stories = [tell(asked, partial(_call_id, b"%d" % choice + ask.body), choice) for choice in range(count)]
    if body.get("stream"):
        frames = tuple(_frames(body, ask.account.created, asked, stories))
        reply = Reply(200, (*EVENT_STREAM, *HEADERS, *LIMITS), frames=frames)
    else:
        reply = whole(_answer(body, ask.account.created, asked, stories), headers=(*HEADERS, *LIMITS))
    output = sum(len(story.output) for story in stories)
    prompt = asked.prompt_tokens
    return replace(reply, model=body["model"], prompt_tokens=prompt, cached=remembered(prompt), output=output)


def _call_id(seed: bytes, index: int, name: str) -> str:
    return token(b"%d" % index + seed, 9)


def _answer(body: Json, created: int, asked: Question, stories: list[Story]) -> Json:
    return {
        "id": UNIQUE,
        "created": created,
        "model": body["model"],
        "usage": _usage(asked, stories),
        "object": "chat.completion",
        "choices": [_choice(index, story) for index, story in enumerate(stories)],
    }


def _choice(index: int, story: Story) -> Json:
    content: Any = story.text
    if story.thought:
        content = [_thinking(story.thought), *([{"type": "text", "text": story.text}] if story.text else [])]
    message = {"role": "assistant", "tool_calls": _whole_calls(story) or None, "content": content}
    return {"index": index, "finish_reason": story.finish, "message": message}


def _thinking(thought: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": thought}], "closed": True}


def _whole_calls(story: Story) -> list[Json]:
    return [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}, "index": index}
        for index, call in enumerate(story.calls)
    ]


def _usage(asked: Question, stories: list[Story]) -> Json:
    output = sum(len(story.output) for story in stories)
    return {
        "prompt_tokens": asked.prompt_tokens,
        "total_tokens": asked.prompt_tokens + output,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": remembered(asked.prompt_tokens)},
    }


def _frames(body: Json, created: int, asked: Question, stories: list[Story]) -> Iterator[Frame]:
    head = {"id": UNIQUE, "object": "chat.completion.chunk", "created": created, "model": body["model"]}

    def frame(choice: Json, tokens: int = 0, **more: Any) -> Frame:
        chunk = {**head, "choices": [choice], **more}
        return Frame(b"data: %b\n\n" % orjson.dumps({**chunk, "p": padding(orjson.dumps(chunk), 36)}), tokens)

    for index, story in enumerate(stories):
        yield frame(_delta(index, {"role": "assistant", "content": ""}))
        for block in story.blocks:
            if block.kind != "call":
                yield from (frame(_delta(index, _piece(event)), 1) for event in block.events)
        calls, last = _whole_calls(story), index == len(stories) - 1
        counted = sum(len(block.events) for block in story.blocks if block.kind == "call")
        ending: Json = {"content": ""} | ({"tool_calls": calls} if calls else {})
        usage = {"usage": _usage(asked, stories)} if last else {}
        yield frame(_delta(index, ending, story.finish), counted, **usage)
    yield Frame(b"data: [DONE]\n\n")


def _delta(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish}


def _piece(event: Output) -> Json:
    match event:
        case Reasoning(text=text):
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
        case Text(text=text) | Quote(text=text):
            return {"content": text}
        case _:
            return {}


# Embeddings and models


def embeddings(ask: Ask) -> Reply | Refusal:
    """https://docs.mistral.ai/api/endpoint/embeddings."""
    body = without_nulls(parsed(ask.body))
    if wrong := first_mismatch(body, EMBEDDINGS):
        return unprocessable(wrong)
    texts = vectors.inputs(body)
    if len(texts) > MOST_INPUTS:
        return refusal(400, "invalid_request_prompt", "Too many inputs in request, split into more batches.", "3210")
    words = vectors.words(texts)
    content = {
        "id": UNIQUE,
        "object": "list",
        "data": vectors.openai_data(body, body.get("output_dimension") or VECTOR),
        "model": body["model"],
        "usage": {"prompt_tokens": words, "total_tokens": words, "completion_tokens": 0},
    }
    return replace(whole(content, headers=(*HEADERS, *LIMITS)), model=body["model"], prompt_tokens=words)


def models(ask: Ask) -> Reply | Refusal:
    """https://docs.mistral.ai/api/endpoint/models: the list, or one of them."""
    (name,), account = ask.named, ask.account
    if name is None:
        return whole(
            {"object": "list", "data": [_model(model, account.created) for model in account.models]}, headers=HEADERS
        )
    return whole(_model(name, account.created), headers=HEADERS) if name in account.models else ERRORS["404"]


def _model(name: str, created: int) -> Json:
    embeds = "embed" in name
    abilities = {
        "completion_chat": not embeds,
        "function_calling": not embeds,
        "completion_fim": False,
        "fine_tuning": False,
        "vision": not embeds,
    }
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "mistralai",
        "capabilities": abilities,
        "name": name,
        "description": "",
        "max_context_length": 131072,
        "aliases": [],
        "type": "base",
    }


def lost(method: str, path: str) -> Refusal:
    """For a path that it does not have."""
    return ERRORS["404"]


GRAMMAR = Grammar(
    base="/v1",
    models=MODELS,
    routes=(
        Route("POST", "/chat/completions", chat),
        Route("POST", "/embeddings", embeddings),
        Route("GET", "/models(?:/(.+))?", models),
    ),
    turn_away=turn_away,
    refuse=refuse,
    lost=lost,
    broken=b"data: " + orjson.dumps(ERRORS["500"].envelope) + b"\n\n",
    garbage=b'data: \xff\xfe{"choices": [NaN, \x00\n\n',
    headers=HEADERS,
)
