"""
Gemini's generateContent as a request: what it must look like, what is refused in which words, and what it asks for.

https://ai.google.dev/api/generate-content. Fields may be spelt in camel or in snake case, as in all JSON that stands
for protocol buffers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.simulator.shapes import Each, Fields, Mismatch, first_mismatch
from gateway.simulator.story import Question, Reading, Tool, forged, json_schema

_FREE = ("args", "response", "parametersJsonSchema", "responseJsonSchema", "responseSchema", "parameters", "labels")
"""Fields whose content is the client's own: names in them are not the API's."""

_SCHEMA_WORDS = (
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
    "additionalProperties",
    "$ref",
    "$defs",
    "ref",
    "defs",
)
"""Of the subset of OpenAPI that `parameters` and `responseSchema` are written in."""

_MEDIA = Fields({"mimeType": str}, {"data": str, "displayName": str, "fileUri": str})
_CALL = Fields({"name": str}, {"args": dict, "id": str, "partialArgs": list, "willContinue": bool})
_RESPONSE = Fields({"name": str}, {"response": dict, "id": str, "parts": list, "willContinue": bool, "scheduling": str})
_PART = Fields(
    {},
    {
        "text": str,
        "thought": bool,
        "thoughtSignature": str,
        "inlineData": Fields({"mimeType": str, "data": str}, {"displayName": str}),
        "fileData": Fields({"fileUri": str}, {"mimeType": str, "displayName": str}),
        "functionCall": _CALL,
        "functionResponse": _RESPONSE,
        **dict.fromkeys(
            ("executableCode", "codeExecutionResult", "toolCall", "toolResponse", "videoMetadata", "mediaResolution"),
            dict,
        ),
        "partMetadata": dict,
    },
)
_CONTENT = Fields({}, {"role": str, "parts": Each(_PART)})
_DECLARATION = Fields(
    {"name": str},
    {
        **dict.fromkeys(("parameters", "response"), dict),
        **dict.fromkeys(("description", "behavior"), str),
        **dict.fromkeys(("parametersJsonSchema", "responseJsonSchema"), object),
    },
)
_SERVER_TOOLS = (
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "googleMaps",
    "computerUse",
    "fileSearch",
    "mcpServers",
    "retrieval",
    "enterpriseWebSearch",
)
_TOOL = Fields({}, {"functionDeclarations": Each(_DECLARATION), **dict.fromkeys(_SERVER_TOOLS, object)})
_NUMBERS = ("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty")
_COUNTS = ("candidateCount", "maxOutputTokens", "seed", "logprobs")
_CONFIG = Fields(
    {},
    {
        **dict.fromkeys(_NUMBERS, float),
        **dict.fromkeys(_COUNTS, int),
        "stopSequences": Each(str),
        "responseMimeType": str,
        "responseSchema": dict,
        "responseModalities": Each(str),
        "responseLogprobs": bool,
        "thinkingConfig": Fields({}, {"includeThoughts": bool, "thinkingBudget": int, "thinkingLevel": str}),
        "audioTimestamp": bool,
        **dict.fromkeys(
            ("responseJsonSchema", "speechConfig", "mediaResolution", "imageConfig", "routingConfig"), object
        ),
        **dict.fromkeys(("enableEnhancedCivicAnswers", "modelSelectionConfig", "responseFormat"), object),
    },
)
_CALLING = Fields({}, {"mode": str, "allowedFunctionNames": Each(str), "streamFunctionCallArguments": bool})
SHAPE = Fields(
    {},
    {
        "model": str,
        "contents": Each(_CONTENT),
        "systemInstruction": _CONTENT,
        "generationConfig": _CONFIG,
        "tools": Each(_TOOL),
        "toolConfig": Fields(
            {},
            {"functionCallingConfig": _CALLING, "retrievalConfig": dict, "includeServerSideToolInvocations": bool},
        ),
        "safetySettings": Each(dict),
        "cachedContent": str,
        **dict.fromkeys(("labels", "modelArmorConfig"), dict),
        **dict.fromkeys(("serviceTier", "store"), object),
    },
)

Complaints = Iterator[str]


_REPEATED = ("contents", "parts", "tools", "functionDeclarations", "safetySettings")
"""Lists that may be written as their only item."""


def camel(value: Any) -> Any:
    """The request with all its own fields in camel case, and none that are null."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _field(name, item) for name, item in ((_camel(n), v) for n, v in value.items()) if item is not None}


def _field(name: str, value: Any) -> Any:
    if name in _FREE:
        return value
    return [camel(value)] if name in _REPEATED and isinstance(value, dict) else camel(value)


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def snake(name: str) -> str:
    """The name of a field as the API spells it in its complaints."""
    return re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name)


def complaint(body: Any, model: str) -> str | None:
    """Why the API would refuse a request whose fields are in camel case, or None."""
    if wrong := first_mismatch(body, SHAPE):
        return told(wrong)
    return next((words for rule in _RULES for words in rule(body, model)), None)


def told(wrong: Mismatch) -> str:
    """A mismatch in the words of the API's JSON reader."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{snake(step)}" for step in wrong.place)[1:]
    if wrong.kind == "unknown":
        above = place.rpartition(".")[0]
        return _unknown(str(wrong.place[-1]), above)
    if wrong.kind == "missing":
        return f"* GenerateContentRequest.{place}: {place.rpartition('.')[2]} is required\n"
    return f"Invalid value at '{place}' (TYPE_{wrong.expected.upper()}), {orjson.dumps(wrong.value).decode()}"


def _unknown(name: str, above: str) -> str:
    where = f" at '{above}'" if above else ""
    return f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'


def _contents(body: Json, model: str) -> Complaints:
    if not body.get("contents"):
        yield "* GenerateContentRequest.contents: contents is not specified\n"
    for place, content in enumerate(body.get("contents") or ()):
        if content.get("role") not in (None, "user", "model", "function"):
            yield "Please use a valid role: user, model."
        if not content.get("parts"):
            yield f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.\n"
        for at, part in enumerate(content.get("parts") or ()):
            if not part:
                where = f"contents[{place}].parts[{at}].data"
                yield f"* GenerateContentRequest.{where}: required oneof field 'data' must have one initialized field\n"


def _turns(body: Json, model: str) -> Complaints:
    """Results follow calls, as many as there were. Neighbours of one role count as one turn."""
    calls: list[str] = []
    for _, turn in groupby(body["contents"], key=lambda content: content.get("role") == "model"):
        parts = [part for content in turn for part in content["parts"]]
        results = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
        if results and not calls:
            yield "Please ensure that function response turn comes immediately after a function call turn."
        if results and len(results) != len(calls):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        calls = [part["functionCall"]["name"] for part in parts if "functionCall" in part]


NAME = (
    "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores"
    " (_), dots (.), colons (:), or dashes (-), with a maximum length of 64."
)


def _tools(body: Json, model: str) -> Complaints:
    seen: set[str] = set()
    for place, tool in enumerate(body.get("tools") or ()):
        for at, function in enumerate(tool.get("functionDeclarations") or ()):
            where = f"tools[{place}].function_declarations[{at}]"
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", function["name"]):
                yield f"* GenerateContentRequest.{where}.name: {NAME}\n"
            if function["name"] in seen:
                yield f"Duplicate function declaration found: {function['name']}"
            seen.add(function["name"])
            yield from _schema(function.get("parameters"), f"{where}.parameters")
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if unknown := set(calling.get("allowedFunctionNames") or ()) - seen:
        yield f"allowed_function_names contains a function that is not declared: {min(unknown)}"


def _schema(schema: Any, where: str) -> Complaints:
    """`parameters` and `responseSchema` know fewer words than JSON Schema does."""
    if not isinstance(schema, dict):
        return
    for word in schema:
        if _camel(word) not in _SCHEMA_WORDS:
            yield _unknown(word, where)
    if isinstance(schema.get("type"), list):
        yield f"Invalid value at '{where}.type' (type.googleapis.com/google.ai.generativelanguage.v1beta.Type)"
    properties = schema.get("properties")
    if properties is not None and not isinstance(properties, dict):
        yield f"Invalid value at '{where}.properties' (MAP)"
        return
    for name, inner in (properties or {}).items():
        yield from _schema(inner, f"{where}.properties['{name}']")
    yield from _schema(schema.get("items"), f"{where}.items")


def _config(body: Json, model: str) -> Complaints:
    config = body.get("generationConfig") or {}
    if not 0 <= (config.get("temperature") or 0) <= 2:
        yield (
            f"Unable to submit request because it has a temperature value of {config['temperature']:g} but the"
            " supported range is from 0 (inclusive) to 2.0001 (exclusive). Update the value and try again."
        )
    if (limit := config.get("maxOutputTokens")) is not None and limit < 1:
        where = "generation_config.max_output_tokens"
        yield f"* GenerateContentRequest.{where}: max_output_tokens must be positive, not {limit}.\n"
    yield from _schema(config.get("responseSchema"), "generation_config.response_schema")
    wanted = config.get("responseSchema") or config.get("responseJsonSchema")
    if wanted and config.get("responseMimeType") not in ("application/json", "text/x.enum"):
        yield (
            "* GenerateContentRequest.generation_config.response_schema: only allowed when response_mime_type is"
            " 'application/json'.\n"
        )


_STANDARD = str.maketrans("-_", "+/")
"""Bytes may come in either alphabet of base64; Google's own SDK sends them back in the other one."""

_ANYONES = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
ANY_SIGNATURE = (*_ANYONES, *(base64.b64encode(words.encode()).decode() for words in _ANYONES))
"""What stands in for the signature of a call that no Gemini model made."""


def _signatures(body: Json, model: str) -> Complaints:
    """Newer models want the first call of each step of the current turn back with its signature."""
    if not model.startswith("gemini-3"):
        return
    for place in range(_turn_starts(body["contents"]), len(body["contents"])):
        calls = [part for part in body["contents"][place]["parts"] if "functionCall" in part]
        if not calls:
            continue
        name, signature = calls[0]["functionCall"]["name"], calls[0].get("thoughtSignature")
        if not signature:
            yield (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
                f" correctly. Additional data, function call `default_api:{name}`, position {place + 1}."
            )
        elif signature not in ANY_SIGNATURE and forged(name, signature.translate(_STANDARD)):
            yield "Corrupted thought signature."


def _turn_starts(contents: list[Json]) -> int:
    """Where the user last said something other than a result."""
    asked = [
        place
        for place, content in enumerate(contents)
        if content.get("role") != "model" and any("functionResponse" not in part for part in content["parts"])
    ]
    return asked[-1] if asked else 0


_RULES: tuple[Callable[[Json, str], Complaints], ...] = (_contents, _tools, _turns, _config, _signatures)


def question(body: Json) -> Question:
    """What a request that passed asks for."""
    config, reading = body.get("generationConfig") or {}, _heard(body)
    wants_json = config.get("responseMimeType") == "application/json"
    return Question(
        said=reading.said,
        images=reading.images,
        results=tuple(reading.results),
        tools=tuple(_callable(body)),
        schema=json_schema(config.get("responseJsonSchema") or config.get("responseSchema")) if wants_json else None,
        limit=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        thinks=(config.get("thinkingConfig") or {}).get("includeThoughts") is True,
        prompt_tokens=reading.words,
    )


def _heard(body: Json) -> Reading:
    reading = Reading()
    for part in (body.get("systemInstruction") or {}).get("parts") or ():
        reading.count(part.get("text") or "")
    for content in body["contents"]:
        for part in content["parts"]:
            if "functionResponse" in part:
                reading.result(_result(part["functionResponse"]), _images(part["functionResponse"].get("parts") or []))
        said = [part["text"] for part in content["parts"] if part.get("text") and not part.get("thought")]
        if content.get("role") != "model" and (said or _images(content["parts"])):
            reading.user(said, _images(content["parts"]))
        else:
            reading.count(" ".join(said))
    for function in _declared(body):
        reading.count(f"{function['name']} {function.get('description') or ''}")
    return reading


def _result(response: Json) -> str:
    """A result is an object; one with a single text in it says just that."""
    given = response.get("response") or {}
    values = list(given.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else orjson.dumps(given).decode()


def _images(parts: list[Any]) -> int:
    media = [part.get("inlineData") or part.get("fileData") or {} for part in parts if isinstance(part, dict)]
    return sum(str(each.get("mimeType") or "").startswith("image/") for each in media)


def _declared(body: Json) -> list[Json]:
    return [function for tool in body.get("tools") or () for function in tool.get("functionDeclarations") or ()]


def _callable(body: Json) -> list[Tool]:
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if calling.get("mode") == "NONE":
        return []
    allowed = calling.get("allowedFunctionNames")
    return [
        Tool(function["name"], function.get("parametersJsonSchema") or lowered(function.get("parameters")))
        for function in _declared(body)
        if not allowed or function["name"] in allowed
    ]


def lowered(schema: Any) -> Any:
    """A schema with its types in small letters, as JSON Schema has them."""
    if isinstance(schema, list):
        return [lowered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else lowered(value)
        for name, value in schema.items()
    }
