"""
Bedrock's Converse as a request: what it must look like, what is refused in which words, and what it asks for.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html. Shapes follow the service's model.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.simulator.http import parsed
from gateway.simulator.shapes import Each, Fields, Mismatch, first_mismatch
from gateway.simulator.story import Document, Question, Reading, Tool, forged

IMAGES = ("png", "jpeg", "gif", "webp")
_SOURCE = Fields({}, {"bytes": str, "s3Location": dict, "text": str, "content": list})
_IMAGE = Fields({"format": str, "source": Fields({}, {"bytes": str, "s3Location": dict})})
_DOCUMENT = Fields({"name": str, "source": _SOURCE}, {"format": str, "context": str, "citations": dict})
_MEDIA = Fields({"format": str, "source": dict})
_CACHE = Fields({"type": str}, {"ttl": str})
_RESULT = Fields(
    {}, {"json": object, "text": str, "image": _IMAGE, "document": _DOCUMENT, "video": _MEDIA, "searchResult": dict}
)
_REASONING = Fields({}, {"reasoningText": Fields({"text": str}, {"signature": str}), "redactedContent": str})
_BLOCK = Fields(
    {},
    {
        "text": str,
        "image": _IMAGE,
        "document": _DOCUMENT,
        "video": _MEDIA,
        "audio": _MEDIA,
        "toolUse": Fields({"toolUseId": str, "name": str, "input": object}, {"type": str}),
        "toolResult": Fields({"toolUseId": str, "content": Each(_RESULT)}, {"status": str, "type": str}),
        "reasoningContent": _REASONING,
        "cachePoint": _CACHE,
        **dict.fromkeys(("guardContent", "citationsContent", "searchResult", "toolAddition", "toolRemoval"), dict),
    },
)
_SPEC = Fields({"name": str, "inputSchema": Fields({"json": dict})}, {"description": str, "strict": bool})
_TOOL = Fields({}, {"toolSpec": _SPEC, "systemTool": dict, "cachePoint": _CACHE})
_FORMAT = Fields(
    {"type": str, "structure": Fields({"jsonSchema": Fields({"schema": str}, {"name": str, "description": str})})}
)
SHAPE = Fields(
    {"messages": Each(Fields({"role": str, "content": Each(_BLOCK)}))},
    {
        "system": Each(Fields({}, {"text": str, "guardContent": dict, "cachePoint": _CACHE})),
        "inferenceConfig": Fields(
            {}, {"maxTokens": int, "temperature": float, "topP": float, "stopSequences": Each(str)}
        ),
        "toolConfig": Fields(
            {"tools": Each(_TOOL, least=1)},
            {"toolChoice": Fields({}, {"auto": dict, "any": dict, "tool": Fields({"name": str})})},
        ),
        "outputConfig": Fields({}, {"textFormat": _FORMAT, "effort": str}),
        "additionalModelRequestFields": dict,
        "additionalModelResponseFieldPaths": Each(str),
        **dict.fromkeys(
            ("guardrailConfig", "promptVariables", "requestMetadata", "performanceConfig", "serviceTier"), dict
        ),
    },
)

Complaints = Iterator[str]


def complaint(body: Any) -> str | None:
    """Why the service would refuse a request, in its words, or None."""
    if wrong := first_mismatch(body, SHAPE):
        return told(wrong)
    return next((words for rule in _RULES for words in rule(body)), None)


def told(wrong: Mismatch) -> str:
    """A mismatch in the words of the service's validation."""
    place = ".".join(map(str, wrong.place))
    match wrong.kind:
        case "missing":
            return (
                f"1 validation error detected: Value at '{place}' failed to satisfy constraint: Member must not be null"
            )
        case "unknown":
            return (
                f"The model returned the following errors: Malformed input request: #: extraneous key [{place}] is not"
                " permitted, please reformat your input and try again."
            )
        case "empty":
            return (
                f"1 validation error detected: Value '[]' at '{place}' failed to satisfy constraint: Member must have"
                " length greater than or equal to 1"
            )
        case _:
            return f"Unexpected field type: {place} is not a valid {wrong.expected}"


def _turns(body: Json) -> Complaints:
    roles = [message["role"] for message in body["messages"]]
    for place, role in enumerate(roles):
        if role not in ("user", "assistant"):
            yield _constraint(role, f"messages.{place + 1}.member.role", "enum value set: [user, assistant]")
    if not roles or roles[0] != "user":
        yield (
            "A conversation must start with a user message. Try again with a conversation that starts with a user"
            " message."
        )
    if any(first == second for first, second in pairwise(roles)):
        yield (
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates"
            " between user and assistant roles and try again."
        )


def _content(body: Json) -> Complaints:
    for place, message in enumerate(body["messages"]):
        if not message["content"]:
            yield (
                f"The content field in the Message object at messages.{place} is empty. Add a ContentBlock object to"
                " the content field and try again."
            )
        for at, block in enumerate(message["content"]):
            where = f"messages.{place}.content.{at}"
            if len(block) != 1:
                yield f"The ContentBlock object at {where} must set one and only one member."
            if block.get("text") == "":
                yield (
                    f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and"
                    " try again."
                )
            if "image" in block and block["image"]["format"] not in IMAGES:
                yield _constraint(
                    block["image"]["format"], f"{where}.image.format", "enum value set: [gif, jpeg, png, webp]"
                )
            yield from _names(where, block)


def _names(where: str, block: Json) -> Complaints:
    for field in ("toolUse", "toolResult"):
        if field in block and not re.fullmatch("[a-zA-Z0-9_.:-]{1,64}", block[field]["toolUseId"]):
            yield _pattern(block[field]["toolUseId"], f"{where}.{field}.toolUseId", "[a-zA-Z0-9_.:-]+")
    if "toolUse" in block and not re.fullmatch("[a-zA-Z0-9_-]{1,64}", block["toolUse"]["name"]):
        yield _pattern(block["toolUse"]["name"], f"{where}.toolUse.name", "[a-zA-Z0-9_-]+")


def _pattern(value: str, where: str, pattern: str) -> str:
    return _constraint(value, where, f"regular expression pattern: {pattern}")


def _constraint(value: Any, where: str, constraint: str) -> str:
    told = "failed to satisfy constraint: Member must satisfy"
    return f"1 validation error detected: Value '{value}' at '{where}' {told} {constraint}"


def _tools(body: Json) -> Complaints:
    tools = specs(body)
    for place, tool in enumerate(tools):
        if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", tool["name"]):
            yield _pattern(tool["name"], f"toolConfig.tools.{place + 1}.member.toolSpec.name", "[a-zA-Z0-9_-]+")
        if tool["inputSchema"]["json"].get("type") != "object":
            where = f"toolConfig.tools.{place}.toolSpec.inputSchema.json.type"
            yield f"The value at {where} must be one of the following: object."
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        yield f"The tool name {names[-1]} is already defined in toolConfig.tools."
    used = any(
        "toolUse" in block or "toolResult" in block for message in body["messages"] for block in message["content"]
    )
    if used and not body.get("toolConfig"):
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."


def _results(body: Json) -> Complaints:
    """The results of a turn's calls are in the next turn, all of them and no others."""
    calls: list[str] = []
    for place, message in enumerate(body["messages"]):
        results = [
            block["toolResult"]["toolUseId"]
            for block in message["content"]
            if "toolResult" in block and message["role"] == "user"
        ]
        if len(results) > len(calls):
            yield (
                f"The number of toolResult blocks at messages.{place}.content exceeds the number of toolUse blocks of"
                " previous turn."
            )
        if missing := [id for id in calls if id not in results]:
            yield f"Expected toolResult blocks at messages.{place}.content for the following Ids: {', '.join(missing)}"
        calls = [block["toolUse"]["toolUseId"] for block in message["content"] if _is_call(block)]


def _is_call(block: Json) -> bool:
    """A call that the client answers; the service has tools of its own, and answers those itself."""
    return "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"


def _numbers(body: Json) -> Complaints:
    config = body.get("inferenceConfig") or {}
    if config.get("maxTokens", 1) < 1:
        yield _constraint(config["maxTokens"], "inferenceConfig.maxTokens", "value greater than or equal to 1")
    for name in ("temperature", "topP"):
        if not 0 <= config.get(name, 0) <= 1:
            yield _constraint(config[name], f"inferenceConfig.{name}", "value between 0 and 1")
    schema = _format(body)
    if schema is not None and not isinstance(parsed(schema.encode()), dict):
        yield "The JSON schema in outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON."


def _signatures(body: Json) -> Complaints:
    for place, message in enumerate(body["messages"]):
        for at, block in enumerate(message["content"]):
            said = block.get("reasoningContent", {}).get("reasoningText", {})
            if "signature" in said and forged(said["text"], said["signature"]):
                yield (
                    "The model returned the following errors:"
                    f" messages.{place}.content.{at}: Invalid `signature` in `thinking` block"
                )


def _thought_before_calls(body: Json) -> Complaints:
    """What Claude thought before the calls that are answered now must be there still."""
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking")
    answers = any("toolResult" in block for block in body["messages"][-1]["content"])
    if not answers or not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    place = len(body["messages"]) - 2
    if "reasoningContent" not in body["messages"][place]["content"][0]:
        yield (
            f"The model returned the following errors: messages.{place}.content.0.type: Expected `thinking` or"
            " `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must"
            " start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


_RULES: tuple[Callable[[Json], Complaints], ...] = (
    _turns,
    _content,
    _tools,
    _results,
    _numbers,
    _signatures,
    _thought_before_calls,
)


def specs(body: Json) -> list[Json]:
    """The tools that a client itself has."""
    tools = (body.get("toolConfig") or {}).get("tools", [])
    return [tool["toolSpec"] for tool in tools if "toolSpec" in tool]


def question(body: Json) -> Question:
    """What a request that passed asks for."""
    config, choice = body.get("inferenceConfig") or {}, (body.get("toolConfig") or {}).get("toolChoice") or {}
    extra = body.get("additionalModelRequestFields") or {}
    thinking = extra.get("thinking") or extra.get("reasoning_config") or {}
    reading, schema = _heard(body), _format(body)
    named = (choice.get("tool") or {}).get("name")
    return Question(
        said=reading.said,
        images=reading.images,
        documents=reading.documents,
        results=tuple(reading.results),
        tools=tuple(
            Tool(tool["name"], tool["inputSchema"]["json"]) for tool in specs(body) if named in (None, tool["name"])
        ),
        schema=None if schema is None else orjson.loads(schema),
        limit=config.get("maxTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        thinks=isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"),
        prompt_tokens=reading.words,
        marked_tokens=_before_cache_point(body),
    )


def _format(body: Json) -> str | None:
    wanted = (body.get("outputConfig") or {}).get("textFormat")
    return wanted["structure"]["jsonSchema"]["schema"] if wanted else None


def _heard(body: Json) -> Reading:
    reading = Reading()
    reading.count(" ".join(block.get("text", "") for block in body.get("system") or ()))
    for message in body["messages"]:
        for block in message["content"]:
            if "toolResult" in block:
                reading.result(*_result(block["toolResult"]["content"]))
        said = [block["text"] for block in message["content"] if "text" in block]
        images = sum("image" in block for block in message["content"])
        if message["role"] == "user" and (said or images):
            reading.user(said, images, _documents(message["content"]))
        else:
            reading.count(" ".join(said))
    for tool in specs(body):
        reading.count(f"{tool['name']} {tool.get('description') or ''}")
    return reading


def _before_cache_point(body: Json) -> int:
    """Words of the system's and the messages' texts before the last point that the client has set among them."""
    blocks = [*(body.get("system") or ()), *(block for message in body["messages"] for block in message["content"])]
    points = [place for place, block in enumerate(blocks) if "cachePoint" in block]
    return sum(len(block.get("text", "").split()) for block in blocks[: points[-1]]) if points else 0


def _documents(content: list[Json]) -> list[Document]:
    """Those in plain text that are to be cited."""
    given = [block["document"] for block in content if "document" in block]
    wanted = [each for each in given if (each.get("citations") or {}).get("enabled")]
    texts = [each["source"].get("text") or _text(each["source"].get("bytes", "")) for each in wanted]
    return [Document(each["name"], text) for each, text in zip(wanted, texts, strict=True) if text]


def _text(data: str) -> str:
    """The text that some bytes are, if they are one."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        return ""


def _result(content: list[Json]) -> tuple[str, int]:
    texts = [
        part["text"] if "text" in part else orjson.dumps(part["json"]).decode()
        for part in content
        if "text" in part or "json" in part
    ]
    return " ".join(texts), sum("image" in part for part in content)
