"""
OpenAI's chat completions, answered without a model: a function of the request, the time and an id.

Shapes and the order of keys are those of recorded traffic of 2025 and 2026; the API is described at
https://platform.openai.com/docs/api-reference/chat. A prompt token is a word. A completion token is whatever one chunk
of a stream carries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import orjson

from gateway.core.call import Json
from gateway.core.events import Reasoning, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator import openai_reading
from gateway.simulator.http import Frame
from gateway.simulator.story import Output, Question, Quote, Story, interleaved, padding, remembered, tell

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_51b9c32e14"


class Chunk(NamedTuple):
    """A chunk of a stream, and the completion tokens in it."""

    content: Json
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer, `[DONE]` included."""

    parts: list[Frame]

    @property
    def frames(self) -> list[bytes]:
        return [part.data for part in self.parts]

    @property
    def output(self) -> int:
        """Completion tokens."""
        return sum(part.tokens for part in self.parts)


def answer(body: Json, *, created: int, id: str, thinks: bool = False) -> Json:
    """The whole answer to a request that `check` lets pass. `created` is in seconds since 1970."""
    asked = openai_reading.question(body, thinks=thinks)
    stories = _stories(body, asked, id)
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": body["model"],
        "choices": [_choice(index, story) for index, story in enumerate(stories)],
        "usage": _usage(asked, stories),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def frames(body: Json, *, created: int, id: str) -> list[bytes]:
    """The same answer as a stream: complete `data: ...` frames, `[DONE]` included."""
    return stream(body, created=created, id=id).frames


def stream(body: Json, *, created: int, id: str) -> Stream:
    """The same frames, and which of them carry output."""
    told = obfuscated(body, chunks(body, created=created, id=id))
    return Stream([*(Frame(frame(chunk.content), chunk.tokens) for chunk in told), Frame(DONE)])


def chunks(body: Json, *, created: int, id: str, thinks: bool = False) -> list[Chunk]:
    """The chunks of a stream, before they are spelt."""
    asked = openai_reading.question(body, thinks=thinks)
    stories = _stories(body, asked, id)
    with_usage = _options(body).get("include_usage") is True
    head = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }

    def chunk(*choices: Json, usage: Json | None = None, tokens: int = 0) -> Chunk:
        return Chunk({**head, "choices": [*choices], **({"usage": usage} if with_usage else {})}, tokens)

    opening = [chunk(_delta(index, _opening(story))) for index, story in enumerate(stories)]
    output = [chunk(_delta(event.choice, _spelt(event)), tokens=1) for event in interleaved(stories)]
    closing = [chunk(_delta(index, {}, story.finish)) for index, story in enumerate(stories)]
    if with_usage:
        closing.append(chunk(usage=_usage(asked, stories)))
    return [*opening, *output, *closing]


def frame(content: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


def usage(body: Json, *, thinks: bool = False) -> Json:
    """What the answer to a request counts, whether a stream says so or not."""
    asked = openai_reading.question(body, thinks=thinks)
    return _usage(asked, _stories(body, asked, ""))


def _options(body: Json) -> Json:
    options = body.get("stream_options")
    return options if isinstance(options, dict) else {}


def _stories(body: Json, asked: Question, id: str) -> list[Story]:
    """One for each choice, whose calls have ids of their own."""
    count = body.get("n") or 1
    start = f"call_{id.removeprefix('chatcmpl-')}"
    told = [tell(asked, partial(_call_id, f"{start}{choice}"), choice) for choice in range(count)]
    if isinstance(body.get("tool_choice"), dict):
        # A call that the client asked for by name ends with `stop`: so did each of the 14 that were recorded.
        return [replace(story, finish="stop") if story.finish == "tool_calls" else story for story in told]
    return told


def _call_id(start: str, index: int, name: str) -> str:
    return f"{start}{index}"


# How it is spelt


def _choice(index: int, story: Story) -> Json:
    calls, thought = story.calls, story.thought
    message: Json = {"role": "assistant", "content": None if calls else story.text}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    message |= {"refusal": None, "annotations": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": story.finish}


def _delta(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _opening(story: Story) -> Json:
    calls = bool(story.output) and isinstance(story.output[0], ToolCallStarted)
    return {"role": "assistant", "content": None if calls else "", "refusal": None}


def _spelt(event: Output) -> Json:
    match event:
        case Reasoning(text=text):
            return {"reasoning_content": text}
        case Text(text=text) | Quote(text=text):
            return {"content": text}
        case ToolCallStarted(index=index, id=id, name=name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}
        case ToolCallArguments(index=index, json=json):
            return {"tool_calls": [{"index": index, "function": {"arguments": json}}]}


def obfuscated(body: Json, told: list[Chunk]) -> list[Chunk]:
    """With letters that hide how long each chunk is, unless the client declines them."""
    if _options(body).get("include_obfuscation") is False:
        return told
    return [
        Chunk({**content, "obfuscation": padding(orjson.dumps(content["choices"]), 16)}, tokens)
        for content, tokens in told
    ]


def _usage(asked: Question, stories: list[Story]) -> Json:
    prompt, completion = asked.prompt_tokens, sum(len(story.output) for story in stories)
    thought = sum(isinstance(event, Reasoning) for story in stories for event in story.output) if asked.thinks else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": remembered(prompt), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
