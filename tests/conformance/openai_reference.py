"""An independent reading of OpenAI-shaped answers, to hold the gateway's against. It shares no code with it.

`told_by_server` reads the raw bytes of an upstream, deviations and all; `heard_by_client` reads what a client gets,
with the SDK's own decoder and types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from openai._streaming import SSEDecoder
from openai.types.chat import ChatCompletion, ChatCompletionChunk

MEANS = {"tool_call": "tool_calls", "eos": "stop"}


@dataclass
class Said:
    """What one choice says."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    """Index to id, name, arguments and kind."""
    function: list[str] = field(default_factory=lambda: ["", ""])
    """Name and arguments of a call of the older grammar."""
    spoken: str = ""
    """The transcript of spoken output."""
    finish: str | None = None


@dataclass
class Story:
    choices: dict[int, Said] = field(default_factory=dict)
    usage: tuple[int, int, int] | None = None

    def choice(self, index: int) -> Said:
        return self.choices.setdefault(index, Said())


def told_by_server(body: bytes, stream: bool) -> Story:
    """The story as the upstream meant it."""
    story = Story()
    for chunk in _chunks(body) if stream else [orjson.loads(body)]:
        for choice in chunk.get("choices", ()):
            said = story.choice(choice.get("index", 0))
            _add(said, choice.get("message" if not stream else "delta") or {})
            said.finish = choice.get("finish_reason") or said.finish
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            story.usage = _counts(usage)
    for said in story.choices.values():
        unsaid = "tool_calls" if said.calls else "stop"
        said.finish = MEANS.get(said.finish or unsaid, said.finish or unsaid)
    return story


def _chunks(body: bytes) -> Iterable[Any]:
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:") and b"[DONE]" not in line[:14]:
            yield orjson.loads(line[5:])


def _add(said: Said, told: Any) -> None:
    said.text += told.get("content") or ""
    said.reasoning += told.get("reasoning_content") or told.get("reasoning") or ""
    said.refusal += told.get("refusal") or ""
    for position, call in enumerate(told.get("tool_calls") or ()):
        function = call.get("function") or {}
        custom = call.get("custom") or {}
        kind = "custom" if call.get("type") == "custom" else "function"
        parts = said.calls.setdefault(call.get("index", position), ["", "", "", kind])
        parts[0] = parts[0] or call.get("id") or ""
        name = function.get("name") or custom.get("name") or ""
        parts[1] += name if name != parts[1] else ""  # some servers say it in each fragment
        parts[2] += function.get("arguments") or custom.get("input") or ""
    function = told.get("function_call") or {}
    said.function[0] += function.get("name") or ""
    said.function[1] += function.get("arguments") or ""
    said.spoken += (told.get("audio") or {}).get("transcript") or ""


def _counts(usage: Any) -> tuple[int, int, int]:
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0), usage.get("total_tokens", 0)


def events_of(out: bytes) -> list[Any]:
    """The data of each event of a stream, as openai-python finds them. Fails where openai-python does."""
    events = list(SSEDecoder().iter_bytes(iter([out])))
    assert events, "nothing was said"
    assert events[-1].data == "[DONE]", "the full stop is missing"
    return [orjson.loads(event.data) for event in events[:-1]]


def heard_by_client(chunks: Iterable[Any]) -> Story:
    """The story that a client puts together, from chunks that fit the SDK's types."""
    story = Story()
    for chunk in chunks:
        checked = ChatCompletionChunk.model_validate(chunk)
        for choice in checked.choices:
            said = story.choice(choice.index)
            _add(said, choice.delta.model_dump() | {"reasoning": ""})
            said.finish = choice.finish_reason or said.finish
        if checked.usage:
            assert not checked.choices
            assert story.usage is None, "usage is told once"
            story.usage = _counts(checked.usage.model_dump())
    return story


def heard_whole(body: bytes) -> Story:
    """The story of an unstreamed answer, from a body that fits the SDK's types."""
    checked = ChatCompletion.model_validate(orjson.loads(body))
    story = Story(usage=_counts(checked.usage.model_dump()) if checked.usage else None)
    for choice in checked.choices:
        said = story.choice(choice.index)
        _add(said, choice.message.model_dump() | {"reasoning": ""})
        said.finish = choice.finish_reason
    return story
