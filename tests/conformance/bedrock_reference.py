"""Answers of Bedrock's Converse as AWS's own SDK reads them, and what it says of requests: to hold the gateway against.

It shares no code with the gateway: botocore finds the events, gives them their types, and validates what is asked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from botocore.eventstream import EventStream
from botocore.model import ServiceModel
from botocore.parsers import EventStreamJSONParser, RestJSONParser
from botocore.validate import ParamValidator

from tests.conformance.openai_reference import Said, Story

SERVICE = Path(__file__).resolve().parents[3] / "shared/specs/bedrock/service-2.json"

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


@dataclass
class Told:
    """One answer: what OpenAI's grammar has words for, and what it has none for."""

    story: Story
    sealed: list[dict[str, str]] = field(default_factory=list)
    """The blocks of reasoning that are to come back."""
    sources: list[tuple[str, str]] = field(default_factory=list)
    """The text that each citation stands for, and the title of its source."""


@cache
def _operation(name: str) -> Any:
    return ServiceModel(orjson.loads(SERVICE.read_bytes()), "bedrock-runtime").operation_model(name)


def complaints(request: Any, model: str) -> str:
    """What AWS's own validator has against a request, as JSON that is to be sent. Empty: nothing."""
    report = ParamValidator().validate({"modelId": model, **request}, _operation("Converse").input_shape)
    return str(report.generate_report())


def own_fields() -> frozenset[str]:
    """The fields of a request, beside the conversation and the model."""
    return frozenset(_operation("Converse").input_shape.members) - {"messages", "modelId"}


def told_by_sdk(body: bytes, stream: bool) -> Told:
    """The story as the SDK understands it."""
    return _told(_gathered(_events(body)) if stream else _whole(body))


def _whole(body: bytes) -> Any:
    """Some recordings, made by hand, have Anthropic's `type` in their blocks, which the SDK refuses in a union."""
    answer = orjson.loads(body)
    for block in answer["output"]["message"]["content"]:
        block.pop("type", None)
    response = {"status_code": 200, "headers": {}, "body": orjson.dumps(answer)}
    return RestJSONParser().parse(response, _operation("Converse").output_shape)


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


def _events(body: bytes) -> Iterator[Any]:
    shape = _operation("ConverseStream").output_shape.members["stream"]
    return iter(EventStream(_Raw(body), shape, EventStreamJSONParser(), "ConverseStream"))


def _gathered(events: Iterator[Any]) -> Any:
    """The whole answer that the events of a stream add up to."""
    blocks: dict[int, Any] = {}
    answer: Any = {"output": {"message": {"content": []}}}
    for event in events:
        ((kind, told),) = event.items()
        if kind == "contentBlockStart":
            ((name, start),) = told["start"].items()
            blocks[told["contentBlockIndex"]] = {name: {**start, "input": ""} if name == "toolUse" else start}
        elif kind == "contentBlockDelta":
            _add(blocks.setdefault(told["contentBlockIndex"], {}), told["delta"])
        elif kind in ("messageStop", "metadata"):
            answer |= told
    for _, block in sorted(blocks.items()):
        if "toolUse" in block:
            block["toolUse"]["input"] = orjson.loads(block["toolUse"]["input"] or "{}")
        if citations := block.pop("citations", None):
            block = {"citationsContent": {"content": [{"text": block["text"]}], "citations": citations}}
        answer["output"]["message"]["content"].append(block)
    return answer


def _add(block: Any, delta: Any) -> None:
    match delta:
        case {"text": text}:
            block["text"] = block.get("text", "") + text
        case {"toolUse": {"input": piece}}:
            block["toolUse"]["input"] += piece
        case {"reasoningContent": {"redactedContent": data}}:
            block["reasoningContent"] = {"redactedContent": data}
        case {"reasoningContent": told}:
            thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
            for name, piece in told.items():
                thought[name] = thought.get(name, "") + piece
        case {"citation": citation}:
            block.setdefault("citations", []).append(citation)


def _told(answer: Any) -> Told:
    said = Said()
    told = Told(Story({0: said}))
    for block in answer["output"]["message"]["content"]:
        match block:
            case {"text": text}:
                said.text += text
            case {"citationsContent": {"content": content, "citations": citations}}:
                text = "".join(part["text"] for part in content)
                said.text += text
                told.sources += [(text, citation.get("title", "")) for citation in citations]
            case {"reasoningContent": {"redactedContent": data}}:
                told.sealed.append({"type": "reasoning.encrypted", "data": b64encode(data).decode()})
            case {"reasoningContent": {"reasoningText": thought}}:
                said.reasoning += thought["text"]
                if "signature" in thought:
                    told.sealed.append({"type": "reasoning.text", **thought})
            case {"toolUse": call} if call.get("type") != "server_tool_use":
                arguments = orjson.dumps(call["input"]).decode()
                said.calls[len(said.calls)] = [call["toolUseId"], call["name"], arguments, "function"]
    said.finish = FINISH.get(answer["stopReason"], "tool_calls")
    usage = answer.get("usage")
    told.story.usage = _counts(usage) if usage else None
    return told


def _counts(usage: Any) -> tuple[int, int, int] | None:
    """The total is AWS's own where it is told, so that the parts are checked against it."""
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    given, answered = usage.get("inputTokens", 0) + cached, usage.get("outputTokens", 0)
    return given, answered, usage.get("totalTokens", given + answered)
