"""
Anthropic's Messages as a request: what it must look like, what the API refuses in which words, and what it asks for.

https://platform.claude.com/docs/en/api/messages. Words of refusals are those of recorded ones where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from gateway.core.call import Json
from gateway.simulator.shapes import Each, Either, Fields, Mismatch, Tagged, first_mismatch
from gateway.simulator.story import Document, Question, Reading, Tool, forged
from gateway.simulator.words import objects

_ANY = Fields(open=True)
_CACHED = {"cache_control": dict}

_TEXT = Fields({"type": str, "text": str}, {**_CACHED, "citations": list})
_SOURCE = Tagged(
    "type",
    {
        "base64": Fields({"type": str, "media_type": str, "data": str}),
        "url": Fields({"type": str, "url": str}),
        "text": Fields({"type": str, "media_type": str, "data": str}),
        "content": Fields({"type": str, "content": object}),
        "file": Fields({"type": str, "file_id": str}),
    },
)
_IMAGE = Fields({"type": str, "source": _SOURCE}, _CACHED)
_DOCUMENT = Fields({"type": str, "source": _SOURCE}, {**_CACHED, "citations": dict, "context": str, "title": str})
_SERVER_BLOCKS = (
    "search_result",
    "container_upload",
    "mcp_tool_use",
    "mcp_tool_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "advisor_tool_result",
    "tool_addition",
    "tool_removal",
    "compaction",
    "fallback",
)
"""Blocks that the API knows and nothing here looks into."""
_RESULT_PARTS = Tagged(
    "type", {"text": _TEXT, "image": _IMAGE, "document": _DOCUMENT, "search_result": _ANY, "tool_reference": _ANY}
)
_BLOCK = Tagged(
    "type",
    {
        "text": _TEXT,
        "image": _IMAGE,
        "document": _DOCUMENT,
        "thinking": Fields({"type": str, "thinking": str, "signature": str}),
        "redacted_thinking": Fields({"type": str, "data": str}),
        "tool_use": Fields({"type": str, "id": str, "name": str, "input": dict}, {**_CACHED, "caller": dict}),
        "tool_result": Fields(
            {"type": str, "tool_use_id": str}, {**_CACHED, "content": Either(_RESULT_PARTS), "is_error": bool}
        ),
        **dict.fromkeys(_SERVER_BLOCKS, _ANY),
    },
)
_TOOL = Fields(
    {"name": str, "input_schema": Fields({"type": str}, open=True)},
    {
        **_CACHED,
        "type": str,
        "description": str,
        "strict": bool,
        "defer_loading": bool,
        "allowed_callers": list,
        "input_examples": list,
        "eager_input_streaming": bool,
    },
)
_CHOICE = Fields({"type": str}, {"disable_parallel_tool_use": bool})
_NAMED_CHOICE = Fields({"type": str, "name": str}, {"disable_parallel_tool_use": bool})
SHAPE = Fields(
    {
        "model": str,
        "max_tokens": int,
        "messages": Each(Fields({"role": str, "content": Either(_BLOCK)})),
    },
    {
        **_CACHED,
        "system": Either(_TEXT),
        "stream": bool,
        "stop_sequences": Each(str),
        "temperature": float,
        "top_p": float,
        "top_k": int,
        "tools": list,
        "tool_choice": Tagged(
            "type", {"auto": _CHOICE, "any": _CHOICE, "none": Fields({"type": str}), "tool": _NAMED_CHOICE}
        ),
        "thinking": Tagged(
            "type",
            {
                "enabled": Fields({"type": str, "budget_tokens": int}, {"display": str}),
                "disabled": Fields({"type": str}),
                "adaptive": Fields({"type": str}, {"display": str}),
            },
        ),
        "metadata": Fields({}, {"user_id": str}),
        "output_config": Fields({}, {"effort": str, "format": dict, "task_budget": dict}),
        "output_format": dict,
        "service_tier": str,
        **dict.fromkeys(
            ("container", "diagnostics", "inference_geo", "user_profile_id", "workspace_id", "speed"), object
        ),
        "context_management": dict,
        "mcp_servers": list,
    },
)

Complaints = Iterator[str]


def complaint(body: Any) -> str | None:
    """Why the API would refuse a request, in its words, or None."""
    if wrong := first_mismatch(body, SHAPE):
        return _told(wrong)
    return next((told for rule in _RULES for told in rule(body)), None)


_KINDS = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
    "object": "dictionary",
}


def _told(wrong: Mismatch) -> str:
    place = ".".join(map(str, wrong.place))
    match wrong.kind:
        case "missing":
            return f"{place}: Field required"
        case "unknown":
            return f"{place}: Extra inputs are not permitted"
        case "tag":
            place = ".".join(map(str, wrong.place[:-1]))
            known = f"does not match any of the expected tags: {wrong.expected}"
            return f"{place}: Input tag '{wrong.value}' found using 'type' {known}"
        case _:
            return f"{place}: Input should be a valid {_KINDS[wrong.expected]}"


def blocks(content: Any) -> list[Json]:
    """The blocks of a message; text alone is one."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _roles(body: Json) -> Complaints:
    messages = body["messages"]
    if not messages:
        yield "messages: at least one message is required"
    for place, message in enumerate(messages):
        if message["role"] == "system" and place == 0:
            yield (
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not'
                ' "system" as an input message role.'
            )
        elif message["role"] not in ("user", "assistant", "system"):
            yield f"messages.{place}.role: Input should be 'user' or 'assistant'"


def _content(body: Json) -> Complaints:
    last = len(body["messages"]) - 1
    for place, message in enumerate(body["messages"]):
        prefill = message["role"] == "assistant" and place == last
        if not message["content"] and not prefill:
            yield (
                f"messages.{place}: all messages must have non-empty content except for the optional final assistant"
                " message"
            )
        said = _texts(blocks(message["content"]))
        if isinstance(message["content"], list) and "" in said:
            yield "messages: text content blocks must be non-empty"
        if prefill and said and said[-1] != said[-1].rstrip():
            yield "messages: final assistant content cannot end with trailing whitespace"


def _results(body: Json) -> Complaints:
    """Each call is answered in the next message, and nothing else is. Neighbours of one role count as one message."""
    open_calls: list[str] = []
    for place, given in _turns(body["messages"]):
        answered = [block["tool_use_id"] for block in given if block["type"] == "tool_result"]
        for at, block in enumerate(given):
            if block["type"] == "tool_result" and block["tool_use_id"] not in open_calls:
                yield (
                    f"messages.{place}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks:"
                    f" {block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in"
                    " the previous message."
                )
            if block["type"] == "tool_use" and not re.fullmatch("[a-zA-Z0-9_-]+", block["id"]):
                yield f"messages.{place}.content.{at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        if missing := [id for id in open_calls if id not in answered]:
            yield _unanswered(place - 1, missing)
        open_calls = [block["id"] for block in given if block["type"] == "tool_use"]
    if open_calls:
        yield _unanswered(len(body["messages"]) - 1, open_calls)


def _turns(messages: list[Json]) -> Iterator[tuple[int, list[Json]]]:
    """The blocks of each turn, and the place of its first message."""
    place = 0
    for _, turn in groupby(messages, key=itemgetter("role")):
        told = list(turn)
        yield place, [block for message in told for block in blocks(message["content"])]
        place += len(told)


def _unanswered(place: int, ids: list[str]) -> str:
    return (
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(ids)}."
        " Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _tools(body: Json) -> Complaints:
    tools = body.get("tools") or []
    for place, tool in enumerate(tools):
        kind = tool.get("type", "custom") if isinstance(tool, dict) else "custom"
        if kind in ("custom", None) and (wrong := first_mismatch(tool, _TOOL)):
            yield _told(wrong._replace(place=("tools", place, "custom", *wrong.place)))
        elif not re.fullmatch("[a-zA-Z0-9_-]{1,128}", str(tool.get("name", "mcp"))):
            yield f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = body.get("tool_choice")
    if choice and not tools and choice["type"] in ("any", "tool"):
        yield "tool_choice: tool_choice may only be specified while providing tools."
    if choice and choice["type"] == "tool" and choice["name"] not in names:
        yield f"Tool '{choice['name']}' not found in provided tools"


def _numbers(body: Json) -> Complaints:
    if body["max_tokens"] < 1:
        yield "max_tokens: must be greater than or equal to 1"
    for name in ("temperature", "top_p"):
        if body.get(name) is not None and not 0 <= body[name] <= 1:
            yield f"{name}: range: 0..1"


def _thinking(body: Json) -> Complaints:
    thinking = body.get("thinking")
    if not thinking or thinking["type"] == "disabled":
        return
    budget = thinking.get("budget_tokens")
    if budget is not None and budget < 1024:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if budget is not None and budget >= body["max_tokens"]:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."
    if budget is not None and body.get("temperature", 1) not in (None, 1):
        yield "`temperature` may only be set to 1 when thinking is enabled."
    if thinking["type"] == "enabled":
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            yield "Thinking may not be enabled when tool_choice forces tool use."
        yield from _thought_before_calls(body["messages"])


def _thought_before_calls(messages: list[Json]) -> Complaints:
    """What was thought before the calls that are answered now must be there still."""
    if not any(block["type"] == "tool_result" for block in blocks(messages[-1]["content"])):
        return
    place = len(messages) - 2
    first = blocks(messages[place]["content"])[0]["type"]
    if first not in ("thinking", "redacted_thinking"):
        yield (
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When"
            " `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the"
            " lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from"
            " previous turns. To avoid this requirement, disable `thinking`."
        )


def _signatures(body: Json) -> Complaints:
    for place, message in enumerate(body["messages"]):
        for at, block in enumerate(blocks(message["content"])):
            if block["type"] == "thinking" and forged(block["thinking"], block["signature"]):
                yield f"messages.{place}.content.{at}: Invalid `signature` in `thinking` block"


_RULES: tuple[Callable[[Json], Complaints], ...] = (
    _roles,
    _content,
    _tools,
    _results,
    _numbers,
    _thinking,
    _signatures,
)


def question(body: Json) -> Question:
    """What a request that passed asks for."""
    choice = body.get("tool_choice") or {"type": "auto"}
    reading = _heard(body)
    return Question(
        said=reading.said,
        images=reading.images,
        documents=reading.documents,
        results=tuple(reading.results),
        tools=tuple(_callable(body, choice)),
        several=not choice.get("disable_parallel_tool_use"),
        schema=_schema(body),
        limit=body["max_tokens"],
        stops=tuple(body.get("stop_sequences") or ()),
        thinks=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        prompt_tokens=reading.words,
    )


def _heard(body: Json) -> Reading:
    reading = Reading()
    reading.count(" ".join(block["text"] for block in blocks(body.get("system") or "")))
    for message in body["messages"]:
        given = blocks(message["content"])
        for block in given:
            if block["type"] == "tool_result":
                shown = blocks(block.get("content") or "")
                reading.result(" ".join(_texts(shown)), _images(shown))
        said, images = _texts(given), _images(given)
        if message["role"] == "user" and (said or images):
            reading.user(said, images, _documents(given))
        else:
            reading.count(" ".join(said))
    for tool in objects(body.get("tools")):
        reading.count(f"{tool.get('name', '')} {tool.get('description') or ''}")
    return reading


def _texts(given: list[Json]) -> list[str]:
    return [block["text"] for block in given if block["type"] == "text"]


def _documents(given: list[Json]) -> list[Document]:
    """Those in plain text that are to be cited."""
    wanted = [block for block in given if block["type"] == "document" and (block.get("citations") or {}).get("enabled")]
    return [
        Document(block.get("title") or "", block["source"]["data"])
        for block in wanted
        if block["source"]["type"] == "text"
    ]


def _images(given: list[Json]) -> int:
    return sum(block["type"] == "image" for block in given)


def _callable(body: Json, choice: Json) -> list[Tool]:
    if choice["type"] == "none":
        return []
    tools = [tool for tool in objects(body.get("tools")) if "input_schema" in tool]
    return [Tool(tool["name"], tool["input_schema"]) for tool in tools if choice.get("name") in (None, tool["name"])]


def _schema(body: Json) -> Any:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return wanted.get("schema") if wanted.get("type") == "json_schema" else None
