"""
Cohere's API, version 2: https://docs.cohere.com/reference/chat.

Shapes as recorded: a plan before the calls, quotations of tool results and documents told between the words, usage in
two currencies, and errors that are only a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import orjson

from gateway.core.call import Headers, Json
from gateway.core.events import Reasoning, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator import vectors
from gateway.simulator.cohere_reading import EMBED, check, question, refusal, told
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
from gateway.simulator.shapes import first_mismatch, without_nulls
from gateway.simulator.story import Output, Question, Quote, Story, remembered, tell, token

MODELS = ("command-a-03-2025", "command-r7b-12-2024", "embed-v4.0")
HEADERS: Headers = ((b"x-debug-trace-id", UNIQUE.encode()),)
PREAMBLE = 500
"""Tokens that the API adds to every prompt. The model reads them, so they count as prompt; they are not billed."""
PLAN = "I will use the tools that were offered."
VECTOR = 1536


WRONG_KEY = refusal(
    401, "Incorrect API key provided: ***********. You can find your API key at https://dashboard.cohere.com/api-keys."
)
NO_KEY = refusal(401, "no api key supplied")
UNREADABLE = refusal(400, "invalid json syntax: invalid character at the start of the request")
ERRORS = {
    "400": refusal(400, "invalid request: at least one message is required"),
    "401": WRONG_KEY,
    "402": refusal(402, "Your account is past due. Please add or update a payment method to continue."),
    "403": refusal(403, "access to this resource is forbidden"),
    "404": refusal(
        404, "model 'simulated' not found, make sure the correct model ID was used and that you have access"
    ),
    "429": refusal(
        429, "You are using a Trial key, which is limited to 20 API calls / minute. Please wait and try again later."
    ),
    "500": refusal(500, "internal server error, this has been reported to our developers"),
    "503": refusal(503, "service unavailable, please try again later"),
    "insufficient-quota": refusal(
        429,
        "You are using a Trial key, which is limited to 1000 API calls / month. Please upgrade to a Production key.",
    ),
    "context-length": refusal(
        400,
        "too many tokens: size limit exceeded by 25836 tokens. Try using shorter or fewer inputs. The limit for this"
        " model is 288000 tokens.",
        error_type="TOO_MANY_TOKENS",
    ),
    "content-filter": refusal(400, "invalid request: the prompt was blocked by the content filter"),
}


def refuse(name: str, retry_after: float, message: str) -> Refusal:
    """The error of a name or a status."""
    if message:
        return refusal(400, message)
    found = ERRORS.get(name) or refusal(int(name), "The simulator was asked to fail.")
    return replace(found, headers=((b"retry-after", b"%d" % -(-retry_after // 1)),)) if name == "429" else found


def turn_away(request: Request, account: Account) -> Refusal | None:
    """The key is a bearer token."""
    given = bearer(request)
    if not given:
        return NO_KEY
    return None if given == (account.api_key or given) else WRONG_KEY


# Chat


def chat(ask: Ask) -> Reply | Refusal:
    """https://docs.cohere.com/reference/chat, whole or streamed."""
    body = without_nulls(parsed(ask.body))
    if body is None:
        return UNREADABLE
    if refused := check(body):
        return refused
    asked = question(body)
    story = tell(asked, partial(_call_id, ask.body))
    if body.get("stream"):
        reply = Reply(200, (*EVENT_STREAM, *HEADERS), frames=tuple(_frames(body, asked, story)), full_stop=2)
    else:
        reply = whole(_answer(body, asked, story), headers=HEADERS)
    prompt = asked.prompt_tokens + PREAMBLE
    return replace(
        reply, model=body["model"], prompt_tokens=prompt, cached=remembered(prompt), output=len(story.output)
    )


def _call_id(seed: bytes, index: int, name: str) -> str:
    return f"{name}_{token(b'%d' % index + seed, 12, 'abcdefghijklmnopqrstuvwxyz0123456789')}"


def _answer(body: Json, asked: Question, story: Story) -> Json:
    message: Json = {"role": "assistant"}
    if story.calls:
        message |= {
            "tool_plan": PLAN,
            "tool_calls": [_call(call.id, call.name, call.arguments) for call in story.calls],
        }
    content = [{"type": "thinking", "thinking": story.thought}] if story.thought else []
    content += [{"type": "text", "text": story.text}] if story.text else []
    if content:
        message["content"] = content
    if quoted := _citations(body, asked, story):
        message["citations"] = quoted
    return {"id": UNIQUE, "message": message, "finish_reason": _finish(story), "usage": _usage(asked, story)}


def _call(id: str, name: str, arguments: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish(story: Story) -> str:
    if story.finish == "stop" and story.stop is not None:
        return "STOP_SEQUENCE"
    return {"stop": "COMPLETE", "length": "MAX_TOKENS"}.get(story.finish, "TOOL_CALL")


def _usage(asked: Question, story: Story) -> Json:
    billed = {"input_tokens": asked.prompt_tokens, "output_tokens": len(story.output)}
    tokens = {**billed, "input_tokens": asked.prompt_tokens + PREAMBLE}
    return {"billed_units": billed, "tokens": tokens, "cached_tokens": remembered(tokens["input_tokens"])}


def _citations(body: Json, asked: Question, story: Story) -> list[Json]:
    """Each tool result that the answer quotes, in order, and where it does."""
    answering = [message for message in body["messages"] if message["role"] == "tool"][-len(asked.results) or None :]
    found: list[Json] = []
    at = 0
    for result, message in zip(asked.results, answering, strict=False):
        start = story.text.find(result, at) if result else -1
        if start >= 0:
            at = start + len(result)
            source = {"type": "tool", "id": f"{message['tool_call_id']}:0", "tool_output": {"content": result}}
            found.append({"start": start, "end": at, "text": result, "sources": [source], "type": "TEXT_CONTENT"})
    return found


def _frames(body: Json, asked: Question, story: Story) -> Iterator[Frame]:
    empty: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event({"id": UNIQUE, "type": "message-start", "delta": {"message": empty}})
    if story.calls:
        yield _event({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": PLAN}}})
    calls = 0
    for index, block in enumerate(story.blocks):
        quoted = _citations(body, asked, story) if block.kind == "text" else []
        place = calls if block.kind == "call" else index
        calls += block.kind == "call"
        for event in block.events:
            yield from _started(place, event, first=event is block.events[0])
        for at, citation in enumerate(quoted):
            yield _event({"type": "citation-start", "index": at, "delta": {"message": {"citations": citation}}})
            yield _event({"type": "citation-end", "index": at})
        yield _event({"type": "tool-call-end" if block.kind == "call" else "content-end", "index": place})
    ending = {"finish_reason": _finish(story), "usage": _usage(asked, story)}
    yield _event({"type": "message-end", "delta": ending})
    yield Frame(b"data: [DONE]\n\n")


def _started(index: int, event: Output, *, first: bool) -> Iterator[Frame]:
    """A piece of a block, and what opens it."""
    match event:
        case Reasoning(text=text):
            if first:
                yield _content("content-start", index, {"type": "thinking", "thinking": ""})
            yield _content("content-delta", index, {"thinking": text}, 1)
        case Text(text=text) | Quote(text=text):
            if first:
                yield _content("content-start", index, {"type": "text", "text": ""})
            yield _content("content-delta", index, {"text": text}, 1)
        case ToolCallStarted(id=id, name=name):
            delta = {"message": {"tool_calls": _call(id, name, "")}}
            yield _event({"type": "tool-call-start", "index": index, "delta": delta}, 1)
        case ToolCallArguments(json=json):
            delta = {"message": {"tool_calls": {"function": {"arguments": json}}}}
            yield _event({"type": "tool-call-delta", "index": index, "delta": delta}, 1)


def _content(kind: str, index: int, content: Json, tokens: int = 0) -> Frame:
    return _event({"type": kind, "index": index, "delta": {"message": {"content": content}}}, tokens)


def _event(content: Json, tokens: int = 0) -> Frame:
    return Frame(b"event: %b\ndata: %b\n\n" % (content["type"].encode(), orjson.dumps(content)), tokens)


# Embeddings and models


def embed(ask: Ask) -> Reply | Refusal:
    """https://docs.cohere.com/reference/embed: numbers as they are, whatever other types are asked for."""
    body = without_nulls(parsed(ask.body))
    if wrong := first_mismatch(body, EMBED):
        return told(wrong)
    texts = [*(body.get("texts") or ()), *(body.get("images") or ())]
    texts += [orjson.dumps(item).decode() for item in body.get("inputs") or ()]
    if not texts:
        return refusal(400, "invalid request: at least one text or image is required")
    size, words = body.get("output_dimension") or VECTOR, vectors.words(texts)
    found = [vectors.vector(text, size) for text in texts]
    content = {
        "id": UNIQUE,
        "texts": body.get("texts") or [],
        "embeddings": {"float": found},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": words}},
        "response_type": "embeddings_by_type",
    }
    return replace(whole(content, headers=HEADERS), model=body["model"], prompt_tokens=words)


def models(ask: Ask) -> Reply | Refusal:
    """https://docs.cohere.com/reference/list-models, or one of them. They are under `/v1`, too."""
    (name,), known = ask.named, ask.account.models
    if name is None:
        return whole({"models": [_model(model) for model in known]}, headers=HEADERS)
    return whole(_model(name), headers=HEADERS) if name in known else refusal(404, f"model '{name}' not found")


def _model(name: str) -> Json:
    endpoints = ["embed", "classify"] if "embed" in name else ["chat"]
    return {
        "name": name,
        "is_deprecated": False,
        "endpoints": endpoints,
        "finetuned": False,
        "context_length": 288000,
        "tokenizer_url": "",
        "default_endpoints": [],
    }


def lost(method: str, path: str) -> Refusal:
    """For a path that it does not have."""
    return refusal(404, "404 page not found")


GRAMMAR = Grammar(
    base="/v2",
    models=MODELS,
    routes=(Route("POST", "/chat", chat), Route("POST", "/embed", embed), Route("GET", "/models(?:/(.+))?", models)),
    turn_away=turn_away,
    refuse=refuse,
    lost=lost,
    broken=_event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "internal server error"}}).data,
    garbage=b'event: content-delta\ndata: \xff\xfe{"delta": [NaN, \x00\n\n',
    headers=HEADERS,
)
