"""
OpenAI's chat completions, answered without a model: a function of the request, the time and an id, and of nothing else.

Without tools it says back what the user said. With tools it calls them, with arguments made from their schemas; given
their results, it quotes them. Shapes and the order of keys are those of recorded traffic of 2025 and 2026; the API is
described at https://platform.openai.com/docs/api-reference/chat.

A prompt token is a word. A completion token is whatever one chunk of a stream carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.core.events import FinishReason, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator.refusals import check
from gateway.simulator.words import example, images, pieces, texts

__all__ = ["DONE", "Story", "Stream", "answer", "check", "frame", "frames", "prompt_tokens", "stream", "tell"]

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_51b9c32e14"
MOST_CALLS = 3
"""Tools called at once, where the client allows several."""
IMAGE_TOKENS = 85
"""What the API charges for an image in low detail."""

Output = Text | ToolCallStarted | ToolCallArguments


@dataclass(frozen=True, slots=True)
class Story:
    """What one choice says, a token at a time, and why it stops."""

    output: list[Output]
    finish: FinishReason


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer. After `opening` frames come `output` frames of one token each, then those that close it."""

    frames: list[bytes]
    opening: int
    output: int


def answer(body: Json, *, created: int, id: str) -> Json:
    """The whole answer to a request that `check` lets pass. `created` is in seconds since 1970."""
    stories = _stories(body, id)
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": body["model"],
        "choices": [_choice(index, story) for index, story in enumerate(stories)],
        "usage": _usage(body, stories),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def frames(body: Json, *, created: int, id: str) -> list[bytes]:
    """The same answer as a stream: complete `data: ...` frames, `[DONE]` included."""
    return stream(body, created=created, id=id).frames


def stream(body: Json, *, created: int, id: str) -> Stream:
    """The same frames, and which of them carry output."""
    stories = _stories(body, id)
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    with_usage = options.get("include_usage") is True
    padded = options.get("include_obfuscation") is not False
    head = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }

    def chunk(*choices: Json, usage: Json | None = None) -> bytes:
        tail = ({"usage": usage} if with_usage else {}) | ({"obfuscation": _padding(choices)} if padded else {})
        return frame({**head, "choices": choices, **tail})

    opening = [chunk(_delta(index, _opening(story))) for index, story in enumerate(stories)]
    output = [chunk(_delta(event.choice, _spelt(event))) for event in _interleaved(stories)]
    closing = [chunk(_delta(index, {}, story.finish)) for index, story in enumerate(stories)]
    if with_usage:
        closing.append(chunk(usage=_usage(body, stories)))
    return Stream([*opening, *output, *closing, DONE], len(opening), len(output))


def frame(content: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


def prompt_tokens(body: Json) -> int:
    """How many words the prompt has, tools included, and what its images count for."""
    said = [text for message in body["messages"] for text in texts(message)]
    offered = [f"{function['name']} {function.get('description') or ''}" for function in _offered(body)]
    shown = sum(images(message) for message in body["messages"])
    return sum(len(text.split()) for text in said + offered) + IMAGE_TOKENS * shown


# What is said


def tell(body: Json, *, id: str, choice: int = 0) -> Story:
    """What a choice has to say, as far as the request's limits let it."""
    if called := _called(body):
        # A call that the client asked for by name ends with `stop`: so did each of the 14 that were recorded.
        by_name = isinstance(body.get("tool_choice"), dict)
        told = Story(list(_calls(called, id, choice)), "stop" if by_name else "tool_calls")
    else:
        text = _until_stopped(_words(body), body.get("stop"))
        told = Story([Text(piece, choice) for piece in pieces(text)], "stop")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return told if limit is None or len(told.output) <= limit else Story(told.output[:limit], "length")


def _stories(body: Json, id: str) -> list[Story]:
    return [tell(body, id=id, choice=choice) for choice in range(body.get("n") or 1)]


def _called(body: Json) -> list[Json]:
    """The functions to call now: none once the last question has results."""
    choice, offered = body.get("tool_choice"), _offered(body)
    if choice == "none" or _results(body["messages"]):
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        named = choice.get("function")
        name = named.get("name") if isinstance(named, dict) else None
        return [function for function in offered if function["name"] == name][:1]
    return offered[: 1 if body.get("parallel_tool_calls") is False else MOST_CALLS]


def _offered(body: Json) -> list[Json]:
    return [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]


def _results(messages: list[Json]) -> list[str]:
    """What tools have answered since the user last spoke."""
    results: list[str] = []
    for message in messages:
        if message["role"] == "user":
            results.clear()
        elif message["role"] in ("tool", "function"):
            results.append(" ".join(texts(message)))
    return results


def _calls(functions: list[Json], id: str, choice: int) -> Iterator[Output]:
    for index, function in enumerate(functions):
        yield ToolCallStarted(index, f"call_{id.removeprefix('chatcmpl-')}{choice}{index}", function["name"], choice)
        for piece in pieces(example(function.get("parameters") or {"type": "object"})):
            yield ToolCallArguments(index, piece, choice)


def _words(body: Json) -> str:
    if (wanted := _json_wanted(body)) is not None:
        return example(wanted)
    if results := _results(body["messages"]):
        return "The tools answered: " + "; ".join(results)
    asked = [message for message in body["messages"] if message["role"] == "user"]
    if not asked:
        return "You said nothing."
    shown = images(asked[-1])
    counted = f" ({shown} image{'' if shown == 1 else 's'})" if shown else ""
    return f"You said: {' '.join(texts(asked[-1]))}{counted}"


def _json_wanted(body: Json) -> Any:
    """The schema of the JSON that the client wants, if it wants JSON."""
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return None
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    return schema or {"type": "object", "properties": {"answer": {"type": "string"}}}


def _until_stopped(text: str, stop: Any) -> str:
    marks = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    ends = [text.find(mark) for mark in marks if isinstance(mark, str) and mark and mark in text]
    return text[: min(ends)] if ends else text


# How it is spelt


def _choice(index: int, story: Story) -> Json:
    calls = _whole_calls(story.output)
    text = "".join(event.text for event in story.output if isinstance(event, Text))
    message: Json = {"role": "assistant", "content": None if calls else text}
    if calls:
        message["tool_calls"] = calls
    message |= {"refusal": None, "annotations": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": story.finish}


def _whole_calls(output: Iterable[Output]) -> list[Json]:
    calls: list[Json] = []
    for event in output:
        match event:
            case ToolCallStarted(id=id, name=name):
                calls.append({"id": id, "type": "function", "function": {"name": name, "arguments": ""}})
            case ToolCallArguments(json=json):
                calls[-1]["function"]["arguments"] += json
            case Text():
                pass
    return calls


def _delta(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _opening(story: Story) -> Json:
    calls = bool(story.output) and isinstance(story.output[0], ToolCallStarted)
    return {"role": "assistant", "content": None if calls else "", "refusal": None}


def _spelt(event: Output) -> Json:
    match event:
        case Text(text=text):
            return {"content": text}
        case ToolCallStarted(index=index, id=id, name=name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}
        case ToolCallArguments(index=index, json=json):
            return {"tool_calls": [{"index": index, "function": {"arguments": json}}]}


def _interleaved(stories: list[Story]) -> Iterator[Output]:
    """The choices take turns, as they do when the API streams several."""
    for turn in zip_longest(*(story.output for story in stories)):
        yield from (event for event in turn if event is not None)


def _padding(choices: tuple[Json, ...]) -> str:
    """Letters that hide how long a chunk's content is. The API's are random; these follow from the content."""
    length = len(orjson.dumps(choices))
    return "".join(chr(ord("a") + (length * 7 + place * 11) % 26) for place in range(-length % 16))


def _usage(body: Json, stories: list[Story]) -> Json:
    prompt, completion = prompt_tokens(body), sum(len(story.output) for story in stories)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
