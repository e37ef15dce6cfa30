"""
Gemini's API: https://ai.google.dev/api.

Shapes as recorded: lines that end with CRLF, usage in every chunk, `STOP` also after calls, a signature on the first of
them, and errors with details that say when to come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from gateway.core.call import Headers, Json
from gateway.core.events import Reasoning, Text
from gateway.simulator import vectors
from gateway.simulator.gemini_reading import camel, complaint, question
from gateway.simulator.http import (
    UNIQUE,
    Account,
    Ask,
    Frame,
    Grammar,
    Refusal,
    Reply,
    Request,
    Route,
    parsed,
    whole,
)
from gateway.simulator.story import Block, Called, Question, Quote, Story, remembered, sign, tell, token

MODELS = ("gemini-2.5-flash", "gemini-3-flash-preview", "gemini-embedding-001")
HEADERS: Headers = ((b"server", b"scaffolding on HTTPServer2"), (b"server-timing", b"gfet4t7; dur=7"))
JSON: Headers = ((b"content-type", b"application/json; charset=UTF-8"),)
EVENT_STREAM: Headers = ((b"content-type", b"text/event-stream"),)
VECTOR = 3072


def refusal(status: int, kind: str, message: str, *details: Json) -> Refusal:
    """https://cloud.google.com/apis/design/errors."""
    error: Json = {"code": status, "message": message, "status": kind}
    return Refusal(status, {"error": error | ({"details": [*details]} if details else {})}, JSON)


def invalid(message: str) -> Refusal:
    """A request that the API will not take."""
    return refusal(400, "INVALID_ARGUMENT", message)


_RPC = "type.googleapis.com/google.rpc."
WRONG_KEY = refusal(
    400,
    "INVALID_ARGUMENT",
    "API key not valid. Please pass a valid API key.",
    {
        "@type": f"{_RPC}ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    },
)
NO_KEY = refusal(
    403,
    "PERMISSION_DENIED",
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form"
    " of API consumer identity to call this API.",
)
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
ERRORS = {
    "400": invalid("* GenerateContentRequest.contents: contents is not specified\n"),
    "401": refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "403": refusal(403, "PERMISSION_DENIED", "The caller does not have permission"),
    "404": refusal(
        404,
        "NOT_FOUND",
        "models/simulated is not found for API version v1beta, or is not supported for generateContent. Call"
        " ModelService.ListModels to see the list of available models and their supported methods.",
    ),
    "429": refusal(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "500": refusal(500, "INTERNAL", "An internal error has occurred. Please retry or report."),
    "503": refusal(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "504": refusal(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."),
    "insufficient-quota": refusal(
        429,
        "RESOURCE_EXHAUSTED",
        _QUOTA,
        {
            "@type": f"{_RPC}QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
        },
    ),
    "context-length": invalid(
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
    ),
}
BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
"""How a filter answers: with a 200 that has no candidates."""


def refuse(name: str, retry_after: float, message: str) -> Refusal:
    """There is no `retry-after`: the wait is in the details."""
    if message:
        return invalid(message)
    if name == "content-filter":
        usage = {"promptTokenCount": 8, "totalTokenCount": 8}
        return Refusal(200, {**BLOCKED, "usageMetadata": usage, "modelVersion": MODELS[0]}, JSON)
    found = ERRORS.get(name) or refusal(int(name), "UNKNOWN", "The simulator was asked to fail.")
    if name != "429":
        return found
    violations = [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]
    return refusal(
        429,
        "RESOURCE_EXHAUSTED",
        f"{_QUOTA} Please retry in {retry_after:g}s.",
        {"@type": f"{_RPC}QuotaFailure", "violations": violations},
        {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{retry_after:g}s"},
    )


def turn_away(request: Request, account: Account) -> Refusal | None:
    """The key comes as `x-goog-api-key`, or in the query."""
    in_query = [part[4:] for part in request.path.partition("?")[2].split("&") if part.startswith("key=")]
    given = request.header(b"x-goog-api-key") or (in_query[0] if in_query else "")
    if not given:
        return NO_KEY
    return None if given == (account.api_key or given) else WRONG_KEY


def generate(ask: Ask) -> Reply | Refusal:
    """The whole answer."""
    told = _told(ask)
    if isinstance(told, Refusal):
        return told
    asked, stories = told
    model, parts = ask.named[0], [_parts(story) for story in stories]
    finished = [{**_finish(story), "index": at} for at, story in enumerate(stories)]
    candidates = [
        {"content": {"parts": said, "role": "model"}, **finish} for said, finish in zip(parts, finished, strict=True)
    ]
    content = {"candidates": candidates, **_tail(model, _usage(asked, stories))}
    return _counted(whole(content, headers=(*JSON, *HEADERS), indented=True), model, asked, stories)


def stream(ask: Ask) -> Reply | Refusal:
    """With `alt=sse` events, without it one JSON array."""
    told = _told(ask)
    if isinstance(told, Refusal):
        return told
    asked, stories = told
    model, events = ask.named[0], "alt=sse" in ask.query.split("&")
    made = list(_chunks(model, asked, stories))
    kind = EVENT_STREAM if events else JSON
    frames = tuple(_spelt(chunk, tokens, at, len(made), events) for at, (chunk, tokens) in enumerate(made))
    return _counted(Reply(200, (*kind, *HEADERS), frames=frames, full_stop=len(stories)), model, asked, stories)


def _told(ask: Ask) -> tuple[Question, list[Story]] | Refusal:
    body = camel(parsed(ask.body))
    if body is None:
        return invalid("Invalid JSON payload received. Unexpected token.")
    if words := complaint(body, ask.named[0]):
        return invalid(words)
    asked, count = question(body), (body.get("generationConfig") or {}).get("candidateCount") or 1
    # Only the newer models give their calls ids.
    seed = ask.body if ask.named[0].startswith("gemini-3") else b""
    return asked, [tell(asked, partial(_call_id, seed), choice) for choice in range(count)]


def _call_id(seed: bytes, index: int, name: str) -> str:
    return token(b"%d" % index + seed, 8, "abcdefghijklmnopqrstuvwxyz0123456789") if seed else ""


def _counted(reply: Reply, model: str, asked: Question, stories: list[Story]) -> Reply:
    prompt, usage = asked.prompt_tokens, _usage(asked, stories)
    return replace(
        reply,
        model=model,
        prompt_tokens=prompt,
        cached=remembered(prompt),
        output=usage["totalTokenCount"] - prompt,
        reasoning=usage.get("thoughtsTokenCount", 0),
    )


def _parts(story: Story) -> list[Json]:
    parts: list[Json] = [{"text": story.thought, "thought": True}] if story.thought else []
    if story.text:
        parts.append({"text": story.text})
    return parts + [_call(at, call) for at, call in enumerate(story.calls)]


def _call(index: int, call: Called) -> Json:
    """Of calls made at once only the first is signed."""
    told: Json = {"name": call.name, "args": call.given}
    signed = {} if index else {"thoughtSignature": sign(call.name)}
    return {"functionCall": told | ({"id": call.id} if call.id else {}), **signed}


def _finish(story: Story) -> Json:
    if story.finish == "tool_calls":
        return {"finishReason": "STOP", "finishMessage": "Model generated function call(s)."}
    return {"finishReason": "MAX_TOKENS" if story.finish == "length" else "STOP"}


def _usage(asked: Question, stories: list[Story], told: int | None = None) -> Json:
    """After so many tokens of output, or after all. Thoughts are counted apart."""
    output = [event for story in stories for event in story.output][:told]
    thought = sum(isinstance(event, Reasoning) for event in output)
    usage: Json = {"promptTokenCount": asked.prompt_tokens}
    if len(output) > thought:
        usage["candidatesTokenCount"] = len(output) - thought
    usage["totalTokenCount"] = asked.prompt_tokens + len(output)
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": asked.prompt_tokens}]
    return usage | ({"thoughtsTokenCount": thought} if thought else {}) | _cached(asked)


def _cached(asked: Question) -> Json:
    """What the implicit cache had, if it had anything: https://ai.google.dev/gemini-api/docs/caching."""
    if not (cached := remembered(asked.prompt_tokens)):
        return {}
    return {
        "cachedContentTokenCount": cached,
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": cached}],
    }


def _tail(model: str, usage: Json) -> Json:
    return {"usageMetadata": usage, "modelVersion": model, "responseId": UNIQUE}


def _chunks(model: str, asked: Question, stories: list[Story]) -> Iterator[tuple[Json, int]]:
    """Each chunk with the tokens in it. Calls come whole; the last chunk of a candidate has only its end."""
    told = 0
    for index, story in enumerate(stories):
        for parts, tokens in _pieces(story):
            told += tokens
            yield _chunk({"parts": parts, "role": "model"}, index, model, _usage(asked, stories, told)), tokens
    for index, story in enumerate(stories):
        chunk = _chunk({"parts": [{"text": ""}], "role": "model"}, index, model, _usage(asked, stories))
        chunk["candidates"][0] = {**chunk["candidates"][0], **_finish(story)}
        yield chunk, 0


def _chunk(content: Json, index: int, model: str, usage: Json) -> Json:
    return {"candidates": [{"content": content, "index": index}], **_tail(model, usage)}


def _pieces(story: Story) -> Iterator[tuple[list[Json], int]]:
    calls = iter(enumerate(story.calls))
    for block in story.blocks:
        if block.kind == "call":
            yield [_call(*next(calls))], len(block.events)
        else:
            yield from _words(block)


def _words(block: Block) -> Iterator[tuple[list[Json], int]]:
    for event in block.events:
        match event:
            case Reasoning(text=text):
                yield [{"text": text, "thought": True}], 1
            case Text(text=text) | Quote(text=text):
                yield [{"text": text}], 1


def _spelt(chunk: Json, tokens: int, place: int, count: int, events: bool) -> Frame:
    if events:
        return Frame(b"data: %b\r\n\r\n" % orjson.dumps(chunk), tokens)
    spelt = orjson.dumps(chunk, option=orjson.OPT_INDENT_2)
    return Frame((b"," if place else b"[") + spelt + (b"\r\n" if place < count - 1 else b"]\r\n"), tokens)


# Embeddings and models


def embed(ask: Ask) -> Reply | Refusal:
    """One vector."""
    body = camel(parsed(ask.body))
    text = _text(body)
    if text is None:
        return invalid("* EmbedContentRequest.content: content is not specified\n")
    return _embedded({"embedding": _vector(body, text)}, ask.named[0], text)


def embed_batch(ask: Ask) -> Reply | Refusal:
    """A vector for each request."""
    body = camel(parsed(ask.body))
    asked = body.get("requests") if isinstance(body, dict) else None
    texts = [_text(each) for each in asked] if isinstance(asked, list) else []
    if not texts or None in texts:
        return invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    found = [_vector(each, text or "") for each, text in zip(asked or [], texts, strict=True)]
    return _embedded({"embeddings": found}, ask.named[0], " ".join(text or "" for text in texts))


def _text(body: Any) -> str | None:
    content = body.get("content") if isinstance(body, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    said = [text for text in texts if isinstance(text, str)]
    return " ".join(said) if said else None


def _vector(body: Json, text: str) -> Json:
    wanted = (body.get("embedContentConfig") or body).get("outputDimensionality")
    return {"values": vectors.vector(text, wanted if isinstance(wanted, int) else VECTOR)}


def _embedded(content: Json, model: str, text: str) -> Reply:
    """The API says nothing about tokens."""
    return replace(whole(content, headers=(*JSON, *HEADERS)), model=model, prompt_tokens=len(text.split()))


def models(ask: Ask) -> Reply | Refusal:
    """https://ai.google.dev/api/models: the list on one page, or one of them."""
    (name,), known = ask.named, ask.account.models
    if name is None:
        return whole({"models": [_model(model) for model in known]}, headers=(*JSON, *HEADERS))
    return whole(_model(name), headers=(*JSON, *HEADERS)) if name in known else lost("GET", name)


def _model(name: str) -> Json:
    methods = ["embedContent"] if "embedding" in name else ["generateContent", "countTokens"]
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": methods,
    }


def lost(method: str, path: str) -> Refusal:
    """For a model or a path that it does not have."""
    name = path.rpartition("/")[2].partition(":")[0]
    told = ERRORS["404"].envelope["error"]["message"].replace("simulated", name)
    return refusal(404, "NOT_FOUND", told)


_MODEL = "/models/([^/:]+)"
GRAMMAR = Grammar(
    base="/v1beta",
    models=MODELS,
    routes=(
        Route("POST", f"{_MODEL}:generateContent", generate),
        Route("POST", f"{_MODEL}:streamGenerateContent", stream),
        Route("POST", f"{_MODEL}:embedContent", embed),
        Route("POST", f"{_MODEL}:batchEmbedContents", embed_batch),
        Route("GET", "/models(?:/([^/:]+))?", models),
    ),
    turn_away=turn_away,
    refuse=refuse,
    lost=lost,
    broken=b"data: " + orjson.dumps(ERRORS["503"].envelope) + b"\r\n\r\n",
    garbage=b'data: \xff\xfe{"candidates": [NaN, \x00\r\n\r\n',
    headers=HEADERS,
)
