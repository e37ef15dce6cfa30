"""Answers in OpenAI's grammar, mended where a server deviates from it: one chunk, or one whole body. Pure.

Many servers speak this grammar nearly. What clients get is right in every field that they check, and nothing that a
model said is lost on the way. `openai_shapes` knows what is right for one object; here is what takes more than one.

All functions edit what they are given and return whether that was necessary. They raise TypeError and its like where a
list holds what is no object: `core.errors.malformed` makes that the server's failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Any

from gateway.core.call import Json
from gateway.core.events import FinishReason, Usage
from gateway.dialects import openai_shapes as shapes
from gateway.dialects.openai_shapes import COUNT_LIMIT, mend


def mend_body(body: Json) -> bool:
    """A whole answer."""
    changed = mend(body, shapes.BODY)
    if "usage" in body:
        changed |= _mend_usage_of(body)
        if body["usage"] is None:
            del body["usage"]
    for position, choice in enumerate(body["choices"]):
        changed |= _mend_whole_choice(choice, position, body)
    return changed


def _mend_whole_choice(choice: Json, position: int, body: Json) -> bool:
    unnumbered = "index" not in choice
    choice.setdefault("index", position)
    changed = mend(choice, shapes.WHOLE_CHOICE) | _mend_logprobs(choice) | unnumbered
    message = choice["message"]
    changed |= _mend_reasoning(message) | mend(message, shapes.MESSAGE)
    for seat, call in enumerate(message.get("tool_calls", ())):
        changed |= _mend_call(call, body, choice["index"], seat)
    if "function_call" in message:
        changed |= _mend_function_call(message, shapes.FUNCTION)
    choice["finish_reason"] = choice["finish_reason"] or unsaid_finish(bool(message.get("tool_calls")))
    return changed


def _mend_call(call: Json, body: Json, choice: int, seat: int) -> bool:
    changed = mend(call, shapes.CALL)
    if not call["id"]:  # Gemini's OpenAI endpoint (recorded): no client could answer such a call
        call["id"], changed = _made_id(body, choice, seat), True
    if call["type"] == "custom":
        return changed | mend(call, shapes.CUSTOM_CALL) | mend(call["custom"], shapes.CUSTOM)
    return changed | mend(call, shapes.FUNCTION_CALL) | mend(call["function"], shapes.FUNCTION)


def unsaid_finish(called: bool) -> FinishReason:
    """Why an answer ended whose server does not say: Snowflake writes "", some of OpenRouter's hosts nothing at all."""
    return "tool_calls" if called else "stop"


def _made_id(envelope: Json, choice: int, seat: int) -> str:
    """An id for a call that came without one: the same each time, a different one in each answer."""
    named = f"{envelope['id']} {envelope['created']} {choice} {seat}"
    return "call_" + blake2s(named.encode(), digest_size=12).hexdigest()


def _mend_function_call(told: Json, shape: shapes.Shape) -> bool:
    """A call of the older grammar; one that names nothing (Snowflake, in every answer) is none."""
    if any(told["function_call"].values()):
        return mend(told["function_call"], shape)
    del told["function_call"]
    return True


def _mend_reasoning(told: Json) -> bool:
    """Tells reasoning in the field where most clients look for it, when it came in another one."""
    if told.get("reasoning_content"):
        return False
    reasoning, content = told.get("reasoning"), told.get("content")
    if not isinstance(reasoning, str):
        reasoning = shapes.said(content, "thinking") if isinstance(content, list) else ""
    if reasoning:
        told["reasoning_content"] = reasoning
    return bool(reasoning)


def _mend_logprobs(choice: Json) -> bool:
    if choice.get("logprobs") is None:
        return False
    changed = mend(choice["logprobs"], shapes.LOGPROBS)
    for name in ("content", "refusal"):
        for token in choice["logprobs"][name] or ():
            changed |= mend(token, shapes.TOKEN) | mend(token, shapes.TOP_TOKENS)
            for other in token["top_logprobs"]:
                changed |= mend(other, shapes.TOKEN)
    return changed


# Token counts.

COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _mend_usage_of(answer: Json) -> bool:
    """Usage that counts nothing is none: it must not pass for a reported 0."""
    if not counts_anything(answer["usage"]):
        answer["usage"] = None
        return True
    return mend_usage(answer["usage"])


def counts_anything(usage: Json) -> bool:
    """Whether an object holds token counts at all."""
    return any(usage.get(name) is not None for name in COUNTS)


def mend_usage(usage: Json) -> bool:
    """Token counts."""
    totalled = usage.get("total_tokens") is not None
    changed = mend(usage, shapes.USAGE)
    if not totalled:
        usage["total_tokens"] = shapes.count(usage["prompt_tokens"]) + shapes.count(usage["completion_tokens"])
    for name, shape in shapes.DETAILS.items():
        if name in usage:
            changed |= mend(usage[name], shape)
    return changed


CACHE_READ = (
    ("prompt_tokens_details", "cached_tokens"),
    ("prompt_token_details", "cached_tokens"),  # Mistral, beside the other spelling
    ("num_cached_tokens", ""),  # Mistral
    ("prompt_cache_hit_tokens", ""),  # DeepSeek
    ("cache_read_input_tokens", ""),  # Doubleword
    ("cached_tokens", ""),  # Together
)
CACHE_WRITE = (("prompt_tokens_details", "cache_write_tokens"), ("cache_creation_input_tokens", ""))
REASONING = (("completion_tokens_details", "reasoning_tokens"), ("reasoning_tokens", ""))
SOUND = (("prompt_tokens_details", "audio_tokens"),)
"""Where servers keep each count, and under which name within; the first that is not 0 wins."""


def read_usage(usage: Json) -> Usage:
    """Mended token counts, in the house's convention.

    What the total has beyond prompt and completion is reasoning that a server left out of `completion_tokens`: xAI and
    Gemini's OpenAI endpoint do so (recorded), and charge for it as output. But if there is as much of it as there is
    sound in the prompt, it is that: Mistral leaves it out of `prompt_tokens` (recorded).
    """
    prompt, completion, total = usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]
    if not (0 <= prompt < COUNT_LIMIT and 0 <= completion < COUNT_LIMIT and 0 <= total < COUNT_LIMIT):
        prompt, completion, total = (max(0, shapes.count(number)) for number in (prompt, completion, total))
    if (beyond := total - prompt - completion) > 0 and beyond == _first(usage, SOUND):
        prompt += beyond
    read, written, reasoning = _usual_places(usage) if usage.keys() <= _USUAL else _all_places(usage)
    return settled_usage(prompt, completion, total, read, written, reasoning)


def settled_usage(
    prompt: int, completion: int, total: int, read: int = 0, written: int = 0, reasoning: int = 0
) -> Usage:
    """The same from counts that none of them is negative or beyond all measure."""
    output = max(completion, total - prompt)
    if not (read or written or reasoning):
        return Usage(prompt, output)
    return Usage(prompt, output, min(read, prompt), min(written, prompt), min(reasoning, output))


def _usual_places(usage: Json) -> tuple[int, int, int]:
    asked, told = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    counts = asked.get("cached_tokens") or 0, asked.get("cache_write_tokens") or 0, told.get("reasoning_tokens") or 0
    return counts if min(counts) >= 0 else _all_places(usage)


def _all_places(usage: Json) -> tuple[int, int, int]:
    return _first(usage, CACHE_READ), _first(usage, CACHE_WRITE), _first(usage, REASONING)


_USUAL = frozenset({*COUNTS, "prompt_tokens_details", "completion_tokens_details"})


def _first(usage: Json, places: tuple[tuple[str, str], ...]) -> int:
    for outer, inner in places:
        value = usage.get(outer)
        if inner:
            value = value.get(inner) if isinstance(value, dict) else None
        if value and (tokens := max(0, shapes.count(value))):
            return tokens
    return 0


# One stream.


INDEX_LIMIT = 2**31
"""A call's index beyond this is nonsense, as good as none."""


@dataclass(slots=True)
class _Calls:
    """The tool calls that one choice has opened."""

    ids: dict[int, str] = field(default_factory=dict)
    """By our index."""
    names: dict[int, str] = field(default_factory=dict)
    moved: dict[int, int] = field(default_factory=dict)
    """From the server's index to ours, where they differ."""

    def seat(self, given: Any, id: str, named: bool) -> int:
        """The index of the call that a fragment belongs to."""
        known = next((seat for seat, other in self.ids.items() if id and other == id), None)
        if type(given) is not int or not 0 <= given < INDEX_LIMIT:
            return known if known is not None else self._next() if named or not self.ids else max(self.ids)
        if id and named and known is None and given in self.ids:  # several calls at one index, told apart by their ids
            self.moved[given] = self._next()
        return self.moved.get(given, given)

    def _next(self) -> int:
        return max(self.ids, default=-1) + 1


class Mender:
    """Mends the chunks of one stream, in order, and remembers what later ones need."""

    def __init__(self) -> None:
        self._opening: Json = {}
        self._text: tuple[Json, Json] = ({}, {})
        self._calls: dict[int, _Calls] = {}
        self._named: set[int] = set()
        """The choices that have said who speaks."""
        self.finished: dict[int, bool] = {}
        """Every choice that was opened, and whether its finish reason has been told."""

    def is_more_text(self, chunk: Json) -> bool:
        """Whether a chunk is like the last sound one but for its text, as most are; then it needs no other look."""
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return False
        if type(chunk.get("obfuscation", "")) is not str:
            return False
        return _is_text(choices[0].get("delta")) and _around_text(chunk, choices[0]) == self._text

    def mend(self, chunk: Json) -> bool:
        """One chunk."""
        changed = self._fill_in(chunk) | mend(chunk, shapes.CHUNK)
        if chunk.get("usage") is not None:
            changed |= _mend_usage_of(chunk)
        for position, choice in enumerate(chunk["choices"]):
            changed |= self._mend_choice(choice, position, chunk)
        if not changed and len(chunk["choices"]) == 1 and not chunk.get("usage"):
            self._text = _around_text(chunk, chunk["choices"][0])
        return changed

    def envelope(self) -> Json:
        """The opening fields of a chunk of our own making."""
        return {"id": "", "created": 0, "model": "", **self._opening, "object": "chat.completion.chunk"}

    def called(self, choice: int) -> bool:
        """Whether a choice has called a tool."""
        return choice in self._calls

    def _fill_in(self, chunk: Json) -> bool:
        """What names a stream is the same in all of its chunks, although some servers write it into a few only."""
        missing = False
        for name in ("id", "created", "model"):
            if chunk.get(name):
                self._opening.setdefault(name, chunk[name])
            elif name in self._opening and chunk.get(name) is None:
                chunk[name], missing = self._opening[name], True
        return missing

    def _mend_choice(self, choice: Json, position: int, chunk: Json) -> bool:
        changed = type(choice.get("index")) is not int
        index: int = position if changed else choice["index"]
        choice["index"] = index
        if "delta" not in choice:  # Azure's filter results have none; some servers write a message or a text
            choice["delta"] = choice.get("message") or shapes.delta_of_text(choice.get("text"))
            changed = True
        changed |= mend(choice, shapes.CHOICE) | _mend_logprobs(choice) | self._mend_delta(choice, chunk)
        self.finished[index] = choice["finish_reason"] is not None or self.finished.get(index, False)
        return changed

    def _mend_delta(self, choice: Json, chunk: Json) -> bool:
        delta = choice["delta"]
        changed = _mend_reasoning(delta) | mend(delta, shapes.DELTA) | self._name_once(delta, choice["index"])
        if "tool_calls" in delta:
            for call in delta["tool_calls"]:
                changed |= self._mend_fragment(call, choice["index"], chunk)
        if "function_call" in delta:
            changed |= _mend_function_call(delta, shapes.FUNCTION_FRAGMENT)
        return changed

    def _name_once(self, delta: Json, choice: int) -> bool:
        """openai-python joins the roles of all chunks to one; Ollama and OpenRouter name it in each (recorded)."""
        if choice not in self._named:
            self._named.update((choice,) if "role" in delta else ())
            return False
        return delta.pop("role", None) is not None

    def _mend_fragment(self, call: Json, choice: int, chunk: Json) -> bool:
        calls = self._calls.setdefault(choice, _Calls())
        function = call.get("function") or {}
        changed = mend(call, shapes.FRAGMENT) | mend(function, shapes.FUNCTION_FRAGMENT)
        given = call.get("index")
        seat = call["index"] = calls.seat(given, call.get("id", ""), bool(function.get("name")))
        if seat in calls.ids:
            changed |= _continue(call, function, calls.names[seat])
        else:
            changed |= _open(call, _made_id(chunk, choice, seat))
            calls.ids[seat], calls.names[seat] = call["id"], function.get("name", "")
        return changed or type(given) is not int or seat != given


def _continue(call: Json, function: Json, name: str) -> bool:
    """What later fragments must not say again: openai-python joins the ids and names of all fragments to one."""
    repeated = bool(call.pop("id", ""))
    if name and function.get("name") == name:
        del function["name"]
        repeated = True
    return repeated


def _is_text(delta: Any) -> bool:
    return (
        type(delta) is dict and len(delta) == 1 and type(delta.get("content") or delta.get("reasoning_content")) is str
    )


def _around_text(chunk: Json, choice: Json) -> tuple[Json, Json]:
    """A chunk and its choice without what is different in each chunk: the text, and letters that hide how long it is.

    OpenAI has those in `obfuscation`, Mistral in `p`.
    """
    return {**chunk, "choices": None, "obfuscation": None, "p": None}, {**choice, "delta": None}


def _open(call: Json, made_id: str) -> bool:
    """What the first fragment of a call has to say."""
    custom = call.get("type") == "custom"
    complete = bool(call.get("id")) and "type" in call and (custom or "arguments" in call.get("function", {}))
    call["id"] = call.get("id") or made_id
    call.setdefault("type", "function")
    if not custom:
        call.setdefault("function", {}).setdefault("arguments", "")
    return not complete


# Text that needs no spelling anew.

_CUTS = {name: (f'"{name}"'.encode(), f',"{name}":null'.encode()) for name in ("usage", "system_fingerprint")}


def without_null(raw: bytes, name: str) -> bytes:
    """An event's bytes without a field that is null; no bytes at all where only spelling it anew can do that.

    The cut cannot hit the inside of a JSON string, where each quotation mark is escaped; that the name occurs only once
    makes sure that no other object in the event is meant.
    """
    named, null = _CUTS[name]
    return raw.replace(null, b"", 1) if raw.count(named) == 1 and null in raw else b""
