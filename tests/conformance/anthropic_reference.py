"""The answers of the Messages API as Anthropic's own SDK reads them, to hold the gateway's reading against.

It shares no code with the gateway: events are found and put together by the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from anthropic._models import construct_type_unchecked
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from jiter import from_json

from tests.conformance.openai_reference import Said, Story

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
}


@dataclass
class Told:
    """One answer: what OpenAI's grammar has words for, and what it has none for."""

    story: Story
    sealed: list[dict[str, str]] = field(default_factory=list)
    """The blocks of reasoning that are to come back."""
    sources: list[tuple[str, str]] = field(default_factory=list)
    """The text that each citation stands for, and whose it is."""


def told_by_sdk(body: bytes, stream: bool) -> Told:
    """The story as the SDK understands it."""
    return _told(_streamed(body) if stream else _whole(body))


def _whole(body: bytes) -> Any:
    return construct_type_unchecked(type_=Message, value=orjson.loads(body))


def _streamed(body: bytes) -> Any:
    """The message that the events add up to. It ends with its full stop: some recordings hold one after the other."""
    message: Any = None
    pieces: dict[int, bytes] = {}
    for sent in SSEDecoder().iter_bytes(iter([body])):
        value: Any = orjson.loads(sent.data)
        if value["type"] == "message_stop":
            break
        if value["type"] == "message_start" and message is not None:
            continue
        if value["type"] != "ping":
            event: Any = construct_type_unchecked(type_=RawMessageStreamEvent, value=value)  # type: ignore[arg-type]
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=pieces)
    return message


def _told(message: Any) -> Told:
    said = Said()
    told = Told(Story({0: said}))
    for block in message.content:
        match block.type:
            case "text":
                said.text += block.text
                told.sources += [(block.text, _source(citation)) for citation in block.citations or ()]
            case "thinking":
                said.reasoning += block.thinking
                if block.signature:
                    sealed = {"type": "reasoning.text", "text": block.thinking, "signature": block.signature}
                    told.sealed.append(sealed)
            case "redacted_thinking":
                told.sealed.append({"type": "reasoning.encrypted", "data": block.data})
            case "tool_use":
                arguments = orjson.dumps(block.input).decode()
                said.calls[len(said.calls)] = [block.id, block.name, arguments, "function"]
    said.finish = FINISH.get(message.stop_reason or "end_turn", "stop")
    details: Any = getattr(message, "stop_details", None)
    said.refusal = (getattr(details, "explanation", None) if details else None) or ""
    told.story.usage = _counts(message.usage)
    return told


def _source(citation: Any) -> str:
    return getattr(citation, "url", None) or f"document:{citation.document_index}"


def _counts(usage: Any) -> tuple[int, int, int]:
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    given, answered = usage.input_tokens + cached, usage.output_tokens
    return given, answered, given + answered


def with_plain_arguments(story: Story) -> Story:
    """The same with the arguments of calls in one spelling. Those that were cut off are read as far as they go."""
    for said in story.choices.values():
        for call in said.calls.values():
            call[2] = orjson.dumps(from_json(call[2].encode() or b"{}", partial_mode=True)).decode()
    return story


def sealed_in(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sealed reasoning of a message for a client, without the numbers."""
    details = message.get("reasoning_details") or ()
    return [{name: value for name, value in detail.items() if name != "index"} for detail in details]


def sources_in(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The text that each annotation of a message for a client stands for, and whose it is."""
    cited = [annotation["url_citation"] for annotation in message.get("annotations") or ()]
    return [(message["content"][one["start_index"] : one["end_index"]], one["url"]) for one in cited]
