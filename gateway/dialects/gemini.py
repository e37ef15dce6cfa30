"""Gemini's own API, `generateContent`, as an OpenAI-shaped request is asked of it. Pure.

The body is written anew: messages become `contents` (`gemini_turns`), settings a `generationConfig`, tools
`functionDeclarations`. What Gemini has and OpenAI has not may be given under Gemini's own name, in either spelling
(`safety_settings`, `safetySettings`), or as its OpenAI endpoint takes it (`extra_body.google`). The answers are read by
`gemini_answers`.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects import hub
from gateway.dialects.conversation import conversation
from gateway.dialects.gemini_answers import answer, refusal, stream
from gateway.dialects.gemini_models import Family, family_of
from gateway.dialects.gemini_schema import taken
from gateway.dialects.gemini_turns import contents
from gateway.dialects.hub import JSON_HEADERS, STREAM_HEADERS

__all__ = ["answer", "ask", "refusal", "stream"]


SAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Settings that differ by their name only."""

TRANSLATED = frozenset({
    *SAME, "function_call", "functions", "max_completion_tokens", "max_tokens", "modalities", "reasoning_effort",
    "response_format", "seed", "service_tier", "stop", "tool_choice", "tools", "web_search_options",
})  # fmt: skip

MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
TIERS = frozenset({"flex", "priority", "standard"})

STOPS = 5
"""How many stop sequences are taken."""

SEEDS = 2**31
"""A seed is an int32 (API reference); a larger one is folded, always in the same way."""

GOOGLE_TOOLS = {
    "google_search": "googleSearch",
    "google_search_retrieval": "googleSearchRetrieval",
    "google_maps": "googleMaps",
    "code_execution": "codeExecution",
    "url_context": "urlContext",
    "file_search": "fileSearch",
    "computer_use": "computerUse",
}
"""Tools that Google runs: `{"type": "google_search"}`, with what it wants to know in a field of that name."""


def _spellings(*names: str) -> dict[str, str]:
    """Each name, and what it is in snake case: Google's servers read both."""
    return {spelt: name for name in names for spelt in (name, re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name))}


GENERATION_FIELDS = _spellings(
    "audioTimestamp", "candidateCount", "enableEnhancedCivicAnswers", "imageConfig", "maxOutputTokens",
    "mediaResolution", "responseFormat", "responseJsonSchema", "responseMimeType", "responseModalities",
    "responseSchema", "routingConfig", "speechConfig", "stopSequences", "thinkingConfig", "topK",
)  # fmt: skip
"""Gemini's own fields that belong into `generationConfig`."""

BODY_FIELDS = _spellings("cachedContent", "generationConfig", "safetySettings", "toolConfig")
"""Gemini's own fields of the body that have two spellings. Any other is passed on as it is written."""


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The call in Gemini's words. `dropped` names what it has no words for.

    Raises Unsupported for content that would be lost, and InvalidRequest for a choice or a format that nobody knows.
    """
    body = hub.wanted(call, target)
    family = family_of(target.model)
    sent = _body(body, family)
    dropped = hub.dropped(body, TRANSLATED.difference(_lost(body, family)))
    if call.stream:
        url, headers = target.urls.get("chat_stream", target.urls["chat"]), STREAM_HEADERS
    else:
        url, headers = target.urls["chat"], JSON_HEADERS
    return UpstreamRequest("POST", url, headers + target.headers, orjson.dumps(sent), dropped)


def _body(body: Json, family: Family) -> Json:
    said = conversation(body["messages"])
    sent: Json = {"contents": contents(said, family)}
    if said.system and said.turns:
        sent["systemInstruction"] = {"parts": [{"text": part.text} for part in said.system]}
    sent |= _tools(body)
    if config := _generation_config(body, family):
        sent["generationConfig"] = config
    if body.get("service_tier") in TIERS:
        sent["serviceTier"] = body["service_tier"]
    return _with_own_fields(sent, hub.private(body))


def _lost(body: Json, family: Family) -> Iterator[str]:
    """The names of fields that are translated as a rule, and cannot be now, or only in part."""
    if len(hub.stops(body)) > STOPS:
        yield "stop"
    if body.get("reasoning_effort") not in family.thinking:
        yield "reasoning_effort"
    if body.get("service_tier") not in TIERS:
        yield "service_tier"
    if any((body.get("web_search_options") or {}).values()):  # a search takes no settings
        yield "web_search_options"


# Settings.


def _generation_config(body: Json, family: Family) -> Json:
    config: Json = {}
    for name, theirs in SAME.items():
        value = body.get(name)
        if value is not None and value not in hub.UNFELT.get(name, ()):
            config[theirs] = value
    if (bound := hub.max_tokens(body)) is not None:
        config["maxOutputTokens"] = bound
    if stops := hub.stops(body):
        config["stopSequences"] = stops[:STOPS]
    if (seed := body.get("seed")) is not None:
        config["seed"] = seed if -SEEDS <= seed < SEEDS else seed % SEEDS
    effort = body.get("reasoning_effort")
    if effort is not None and effort in family.thinking:
        config["thinkingConfig"] = _thinking(family.thinking[effort], told=effort != "none")
    return config | _modalities(body) | _format(body)


def _thinking(amount: int | str, told: bool) -> Json:
    """How much to think, and whether to tell of it."""
    field = "thinkingBudget" if isinstance(amount, int) else "thinkingLevel"
    return {field: amount, "includeThoughts": told}


def _modalities(body: Json) -> Json:
    modalities = body.get("modalities") or ["text"]
    if "audio" in modalities:
        raise Unsupported("This provider's spoken answers cannot be told in OpenAI's grammar.", param="modalities")
    return {} if modalities == ["text"] else {"responseModalities": [each.upper() for each in modalities]}


def _format(body: Json) -> Json:
    """The form of the answer: JSON, and which. Its description belongs to the schema."""
    form = hub.response_format(body)
    if form is None:
        return {}
    told: Json = {"responseMimeType": "application/json"}
    if form.schema is not None:
        described = {"description": form.description} if form.description else {}
        told["responseJsonSchema"] = taken({**described, **form.schema})
    return told


# Tools.


def _tools(body: Json) -> Json:
    offered = body.get("tools") or ()
    googles: list[Json] = [
        {GOOGLE_TOOLS[tool["type"]]: tool.get(tool["type"]) or {}} for tool in offered if _is_googles(tool)
    ]
    if body.get("web_search_options") is not None and {"googleSearch": {}} not in googles:
        googles.append({"googleSearch": {}})
    functions = hub.tools({**body, "tools": [tool for tool in offered if not _is_googles(tool)]} if googles else body)
    declared = [_declaration(tool) for tool in functions.tools]
    tools = ([{"functionDeclarations": declared}] if declared else []) + googles
    told: Json = {"tools": tools} if tools else {}
    if declared and functions.choice is not None:
        told["toolConfig"] = {"functionCallingConfig": _choice(functions.choice)}
    return told


def _is_googles(tool: Json) -> bool:
    return tool["type"] in GOOGLE_TOOLS


def _declaration(tool: hub.Tool) -> Json:
    told: Json = {"name": tool.name, "parametersJsonSchema": taken(tool.parameters)}
    if tool.description:
        told["description"] = tool.description
    return told


def _choice(choice: hub.Choice) -> Json:
    named = {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}
    return {"mode": MODES[choice.mode], **named}


# Gemini's own fields.


def _with_own_fields(sent: Json, own: Json) -> Json:
    """The body with the fields that only Gemini has. Where two say the same, it is Gemini's own name that holds."""
    if not own:
        return sent
    config: Json = {}
    named: Json = {}
    for name, value in _unwrapped(own).items():
        if name in GENERATION_FIELDS:
            config[GENERATION_FIELDS[name]] = value
        else:
            named[BODY_FIELDS.get(name, name)] = value
    if config:
        named["generationConfig"] = config | _object(named.get("generationConfig"))
    for name in ("generationConfig", "toolConfig"):
        if name in named and name in sent:
            sent[name] |= _object(named[name])
    return named | sent


def _unwrapped(own: Json) -> Json:
    """The same with what stands in `extra_body.google`, where clients of Gemini's OpenAI endpoint put it."""
    match own:
        case {"extra_body": {"google": dict(google)}, **rest}:
            return {**rest, **google}
    return own


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
