"""OpenAI's chat completions, as clients hear them: events in, chunks or one whole object out. Pure.

https://platform.openai.com/docs/api-reference/chat-streaming/streaming
https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from gateway.core.call import Json
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    LogProbs,
    Pictured,
    Reasoning,
    ReasoningSealed,
    Refusal,
    Saying,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)

DONE = b"data: [DONE]\n\n"


class Encoder:
    """Spells one answer's events as `chat.completion.chunk` server-sent events.

    `created` (seconds since 1970), `id` and `model` are told where the upstream named none. Usage is told once, just
    before the full stop, and only to a client that asked for it.
    """

    def __init__(self, *, created: int, include_usage: bool, id: str, model: str = "") -> None:
        self._created = created
        self._id = id
        self._model = model
        self._include_usage = include_usage
        self._usage: Usage | None = None
        self._opened: set[int] = set()
        self._wordless: set[tuple[int, int]] = set()
        """The tool calls, by choice and index, whose arguments have not begun."""
        self._items: dict[tuple[int, str], int] = {}
        """How many items of each of its lists a choice has been told."""
        self._name(Started(id, ""))

    def encode(self, event: Event) -> bytes:
        """What one event is to the client; nothing for one that it need not hear now."""
        match event:
            case Text(text=text, choice=0) if 0 in self._opened:  # nearly every event
                return self._text_head + orjson.dumps(text) + self._text_tail
            case Started():
                self._name(event)
                return self._open(0)
            case UsageReported(usage=usage):
                self._usage = usage
                return b""
            case Finished(reason=reason, choice=choice):
                return self._open(choice) + self._argued(choice, reason) + self._chunk(choice, {}, reason)
            case ToolCallStarted():
                self._wordless.add((event.choice, event.index))
                return self._open(event.choice) + self._chunk(event.choice, delta(event))
            case ToolCallArguments():
                self._wordless.discard((event.choice, event.index))
                return self._chunk(event.choice, delta(event))
            case ReasoningSealed() | Cited() | Pictured():
                return self._open(event.choice) + self._chunk(event.choice, self._item(event))
            case LogProbs(choice=choice):
                return self._open(choice) + self._chunk(choice, {}, logprobs=logprobs(event))
            case _:
                return self._open(event.choice) + self._chunk(event.choice, delta(event))

    def end(self) -> bytes:
        """The last of a complete answer."""
        if self._usage is None or not self._include_usage:
            return DONE
        return _frame({**self._envelope, "choices": [], "usage": usage_json(self._usage)}) + DONE

    def _name(self, started: Started) -> None:
        self._envelope = {
            "id": started.id or self._id,
            "object": "chat.completion.chunk",
            "created": started.created or self._created,
            "model": started.model or self._model,
        }
        # All other chunks have null there when the client asked (API reference, `stream_options.include_usage`).
        self._no_usage = {"usage": None} if self._include_usage else {}
        self._text_head, _, self._text_tail = self._chunk(0, {"content": ""}).rpartition(b'""')

    def _open(self, choice: int) -> bytes:
        """A choice's first chunk, which says who speaks."""
        if choice in self._opened:
            return b""
        self._opened.add(choice)
        return self._chunk(choice, {"role": "assistant", "content": ""})

    def _argued(self, choice: int, reason: str) -> bytes:
        """Arguments for calls that were given none: providers send no text for `{}`, clients parse what they get.

        A call that was cut off by the length limit stays as broken as it is.
        """
        wordless = sorted(index for other, index in self._wordless if other == choice and reason != "length")
        return b"".join(self._chunk(choice, delta(ToolCallArguments(index, "{}"))) for index in wordless)

    def _item(self, event: ReasoningSealed | Cited | Pictured) -> Json:
        """One of a list, with its number: openai-python joins what has the same number, and fails on what has none."""
        name, item = listed(event)
        number = self._items.get((event.choice, name), 0)
        self._items[event.choice, name] = number + 1
        return {name: [{**item, "index": number}]}

    def _chunk(self, choice: int, told: Json, reason: str | None = None, logprobs: Json | None = None) -> bytes:
        choices = [{"index": choice, "delta": told, "logprobs": logprobs, "finish_reason": reason}]
        return _frame({**self._envelope, "choices": choices, **self._no_usage})


def _frame(chunk: Json) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


Said = Text | Reasoning | Refusal | ToolCallStarted | ToolCallArguments


def delta(event: Said) -> Json:
    """What a chunk says of one event."""
    match event:
        case Text(text=text):
            return {"content": text}
        case Reasoning(text=text):
            return {"reasoning_content": text}
        case Refusal(text=text):
            return {"refusal": text}
        case ToolCallStarted(index=index):
            return {"tool_calls": [{"index": index, **tool_call(event)}]}
        case ToolCallArguments(index=index, json=json):
            return {"tool_calls": [{"index": index, "function": {"arguments": json}}]}


def listed(event: ReasoningSealed | Cited | Pictured) -> tuple[str, Json]:
    """Which of a message's lists an event belongs to, and what it is there."""
    match event:
        case ReasoningSealed():
            return "reasoning_details", detail(event)
        case Cited():
            return "annotations", annotation(event)
        case Pictured():
            return "images", image(event)


def tool_call(event: ToolCallStarted) -> Json:
    """A call whose arguments are still to come. A signature stands where Gemini's own OpenAI endpoint has it.

    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    call: Json = {"id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
    if event.signature:
        call["extra_content"] = {"google": {"thought_signature": event.signature}}
    return call


def detail(event: ReasoningSealed) -> Json:
    """A sealed block in the form in which OpenRouter hands such blocks out, and clients send them back.

    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    if event.data:
        return {"type": "reasoning.encrypted", "data": event.data}
    return {"type": "reasoning.text", "text": event.text, "signature": event.signature}


def annotation(event: Cited) -> Json:
    """A source as OpenAI's web search tells it."""
    cited = {"url": event.url, "title": event.title, "start_index": event.start, "end_index": event.end}
    return {"type": "url_citation", "url_citation": cited}


def image(event: Pictured) -> Json:
    """A picture. OpenAI's chat has none in its answers; this is how OpenRouter adds them.

    https://openrouter.ai/docs/features/multimodal/image-generation
    """
    return {"type": "image_url", "image_url": {"url": event.url}}


def logprobs(event: LogProbs) -> Json:
    """The likelihood of some tokens, as a choice holds it."""
    return {"content": list(event.content), "refusal": None}


def usage_json(usage: Usage) -> Json:
    """Token counts as OpenAI tells them, whose convention is the house's own."""
    read, written = usage.cache_read, usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": read, **({"cache_write_tokens": written} if written else {})},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def whole(events: Iterable[Event], created: int, id: str = "", model: str = "") -> Json:
    """A finished story as one `chat.completion`. `created`, `id` and `model` are told where the upstream named none."""
    body: Json = {"id": id, "object": "chat.completion", "created": created, "model": model}
    choices: dict[int, Json] = {}
    usage: Json = {}
    for event in events:
        match event:
            case Started():
                body |= {"id": event.id or id, "created": event.created or created, "model": event.model or model}
            case UsageReported(usage=counted):
                usage = {"usage": usage_json(counted)}
            case Finished(reason=reason, choice=choice):
                _choice(choices, choice)["finish_reason"] = reason
            case _:
                _tell(_choice(choices, event.choice), event)
    return {**body, "choices": [_closed(choices[index]) for index in sorted(choices)], **usage}


def _choice(choices: dict[int, Json], index: int) -> Json:
    if index not in choices:
        message: Json = {"role": "assistant", "content": None, "refusal": None}
        choices[index] = {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
    return choices[index]


_TOLD = {Text: "content", Reasoning: "reasoning_content", Refusal: "refusal"}


def _tell(choice: Json, event: Saying) -> None:
    """Adds one event to a choice. Calls are kept by their index until the choice is closed."""
    message = choice["message"]
    match event:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            name = _TOLD[type(event)]
            message[name] = (message.get(name) or "") + text
        case ToolCallStarted(index=index):
            message.setdefault("tool_calls", {})[index] = tool_call(event)
        case ToolCallArguments(index=index, json=json):
            message["tool_calls"][index]["function"]["arguments"] += json
        case ReasoningSealed():
            details = message.setdefault("reasoning_details", [])
            details.append({**detail(event), "index": len(details)})
        case Cited() | Pictured():
            name, item = listed(event)
            message.setdefault(name, []).append(item)
        case LogProbs(content=content):
            choice["logprobs"] = choice["logprobs"] or {"content": [], "refusal": None}
            choice["logprobs"]["content"] += content


def _closed(choice: Json) -> Json:
    message = choice["message"]
    if "tool_calls" in message:
        message["tool_calls"] = [call for _, call in sorted(message["tool_calls"].items())]
        for call in message["tool_calls"]:
            if choice["finish_reason"] != "length":
                call["function"]["arguments"] = call["function"]["arguments"] or "{}"
    return choice
