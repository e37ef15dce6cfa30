"""The objects of OpenAI's chat answers, field by field: what may stand there, and what becomes of anything else. Pure.

Only fields that clients check are named; all others pass as they came. A mended object fits both OpenAI's API
description and the types of its SDK: the first is stricter about nulls and what is required, the second about words.

https://platform.openai.com/docs/api-reference/chat/object
https://platform.openai.com/docs/api-reference/chat-streaming/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import FinishReason


class _Absent:
    """The value of a field that is not there: unlike `None`, it is no JSON."""


ABSENT = _Absent()
_ABSENT_EACH = repeat(ABSENT)

Mend = Callable[[Any], Any]
"""From a value that may not stand in a field to one that may; ABSENT takes the field out."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one kind of object that clients rely on."""

    names: tuple[str, ...]
    types: tuple[frozenset[type], ...]
    words: tuple[tuple[str, frozenset[Any]], ...]
    """The only values of a field, where there is such a list."""
    mends: Mapping[str, Mend]
    sound: set[tuple[type, ...]] = field(default_factory=set)
    """Types that were found right together, in the order of the names. A server sends the same few again and again."""


MOST_SOUND = 1000
"""How many such combinations are remembered, should a server think of ever new ones."""


def _shape(fields: Mapping[str, tuple[frozenset[type], Mend]], **words: frozenset[Any]) -> Shape:
    types, mends = zip(*fields.values(), strict=True)
    return Shape(tuple(fields), types, tuple(words.items()), dict(zip(fields, mends, strict=True)))


def mend(thing: Json, shape: Shape) -> bool:
    """Puts every field right. Returns whether one was wrong."""
    get = thing.get
    wrong: list[str] = []
    found = tuple(map(type, map(get, shape.names, _ABSENT_EACH)))
    if found not in shape.sound:
        wrong = [name for name, kind, types in zip(shape.names, found, shape.types, strict=True) if kind not in types]
        if not wrong and len(shape.sound) < MOST_SOUND:
            shape.sound.add(found)
    for name in wrong:
        _put(thing, name, shape.mends[name](get(name, ABSENT)))
    unknown = [name for name, words in shape.words if get(name, ABSENT) not in words]
    for name in unknown:
        _put(thing, name, shape.mends[name](get(name, ABSENT)))
    return bool(wrong or unknown)


def _put(thing: Json, name: str, value: Any) -> None:
    if value is ABSENT:
        thing.pop(name, None)
    else:
        thing[name] = value


# What becomes of values that may not stand where they are.


def _left_out(value: Any) -> Any:
    return ABSENT


def _always(value: Any) -> Mend:
    return lambda _: value


def _string(value: Any) -> str:
    return "" if value is None or value is ABSENT else value if isinstance(value, str) else _json(value)


def _string_if_any(value: Any) -> Any:
    return ABSENT if value is None else _json(value)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


COUNT_LIMIT = 2**53
"""Up to there JSON numbers are exact in every language, and sums of them fit what `orjson` writes."""


def count(value: Any) -> int:
    """Tokens and times: some servers send floats, or digits in a string. What no one can have counted is 0."""
    if type(value) is int and -COUNT_LIMIT < value < COUNT_LIMIT:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if abs(number) < COUNT_LIMIT else 0


def _count_if_any(value: Any) -> Any:
    return ABSENT if value is None or isinstance(value, (dict, list)) else count(value)


def _content(value: Any) -> str | None:
    """Text that came as a list of parts, as Mistral sends it."""
    return said(value, "text") if isinstance(value, list) else None if value is ABSENT else _string(value)


def said(parts: Iterable[Any], kind: str) -> str:
    """The text of all parts of one kind. A `thinking` part holds a list of parts again."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part if kind == "text" else ""
        elif part.get("type", "text") == kind:
            inner = part.get(kind) or ""
            text += inner if isinstance(inner, str) else said(inner, "text")
    return text


def delta_of_text(value: Any) -> Json:
    """What a choice says in the grammar of plain completions (Together's older models)."""
    return {"content": value} if isinstance(value, str) else {}


def _finish(value: Any) -> FinishReason | None:
    """The finish reason that a word means. Raises UpstreamError for one that says the answer failed."""
    if not isinstance(value, str) or not value:  # Snowflake writes "" throughout
        return None
    word = value.lower()
    if word in FAILED:
        raise UpstreamError(Failure.SERVER_ERROR, f"finish_reason: {value}")
    return FINISH_WORDS.get(word, "stop")


FINISH_WORDS: dict[str, FinishReason] = {
    **dict.fromkeys(("length", "max_tokens", "max_new_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "tool-calls", "function_calls"), "tool_calls"),
    **dict.fromkeys(
        ("content_filter", "content-filter", "safety", "sensitive", "refusal", "recitation", "blocklist", "spii",
         "prohibited_content", "guardrail_intervened"),
        "content_filter",
    ),
    "function_call": "function_call",
}  # fmt: skip
"""What servers write, in lower case. All other words (`eos`, `end_turn`, `stop_sequence`, ...) mean `stop`."""

FAILED = frozenset({"error", "abort", "aborted", "network_error", "insufficient_system_resource"})
"""Words of OpenRouter, vLLM and SGLang, Z.ai and DeepSeek for an answer that broke off."""


def _tier(value: Any) -> str | None:
    """Groq's `on_demand` and others' `standard` are the tier without a name of its own; what is unknown is not told."""
    return "default" if value in ("on_demand", "standard") else None


# The shapes themselves.

_TEXT, _INT, _LIST, _OBJECT = frozenset({str}), frozenset({int}), frozenset({list}), frozenset({dict})
_NULL, _NONE = frozenset({type(None)}), frozenset({_Absent})

_ENVELOPE: dict[str, tuple[frozenset[type], Mend]] = {
    "id": (_TEXT, _string),
    "object": (_TEXT, _left_out),
    "created": (_INT, count),
    "model": (_TEXT, _string),
    "choices": (_LIST, lambda _: []),
    "service_tier": (_TEXT | _NULL | _NONE, _tier),
    "system_fingerprint": (_TEXT | _NONE, _left_out),
    "moderation": (_OBJECT | _NULL | _NONE, _left_out),
}
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", None, ABSENT})
_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

CHUNK = _shape(
    {
        **_ENVELOPE,
        "object": (_TEXT, _always("chat.completion.chunk")),
        "usage": (_OBJECT | _NULL | _NONE, _left_out),
        "obfuscation": (_TEXT | _NONE, _left_out),
    },
    object=frozenset({"chat.completion.chunk"}),
    service_tier=_TIERS,
)
BODY = _shape(
    {
        **_ENVELOPE,
        "object": (_TEXT, _always("chat.completion")),
        "usage": (_OBJECT | _NONE, _left_out),
        "metadata": (_OBJECT | _NULL | _NONE, _left_out),
    },
    object=frozenset({"chat.completion"}),
    service_tier=_TIERS,
)
CHOICE = _shape(
    {
        "delta": (_OBJECT, lambda _: {}),
        "finish_reason": (_TEXT | _NULL, _finish),
        "logprobs": (_OBJECT | _NULL | _NONE, _left_out),
    },
    finish_reason=_REASONS | {None},
)
WHOLE_CHOICE = _shape(
    {
        "index": (_INT, count),
        "finish_reason": (_TEXT, _finish),
        "message": (_OBJECT, lambda _: {}),
        "logprobs": (_OBJECT | _NULL, _always(None)),
    },
    finish_reason=_REASONS,
)
_CALLING: dict[str, tuple[frozenset[type], Mend]] = {
    "tool_calls": (_LIST | _NONE, _left_out),
    "function_call": (_OBJECT | _NONE, _left_out),
    "audio": (_OBJECT | _NULL | _NONE, _left_out),
    "reasoning_content": (_TEXT | _NULL | _NONE, _content),
}
DELTA = _shape(
    {
        "role": (_TEXT | _NONE, lambda value: ABSENT if value is None else "assistant"),
        "content": (_TEXT | _NULL | _NONE, _content),
        "refusal": (_TEXT | _NULL | _NONE, _string),
        **_CALLING,
    },
    role=frozenset({"developer", "system", "user", "assistant", "tool", ABSENT}),
)
MESSAGE = _shape(
    {
        "role": (_TEXT, _always("assistant")),
        "content": (_TEXT | _NULL, _content),
        "refusal": (_TEXT | _NULL, lambda value: None if value is ABSENT else _string(value)),
        "annotations": (_LIST | _NONE, _left_out),
        **_CALLING,
    },
    role=frozenset({"assistant"}),
)
FRAGMENT = _shape(
    {
        "id": (_TEXT | _NONE, _string_if_any),
        "type": (_TEXT | _NONE, _left_out),
        "function": (_OBJECT | _NONE, _left_out),
    },
    type=frozenset({"function", "custom", ABSENT}),
)
CALL = _shape(
    {"id": (_TEXT, _string), "type": (_TEXT, _always("function"))},
    type=frozenset({"function", "custom"}),
)
FUNCTION_CALL = _shape({"function": (_OBJECT, lambda _: {})})
CUSTOM_CALL = _shape({"custom": (_OBJECT, lambda _: {})})
CUSTOM = _shape({"name": (_TEXT, _string), "input": (_TEXT, _string)})
FUNCTION_FRAGMENT = _shape(
    {"name": (_TEXT | _NONE, _string_if_any), "arguments": (_TEXT | _NONE, _string_if_any)},
)
FUNCTION = _shape({"name": (_TEXT, _string), "arguments": (_TEXT, _string)})
LOGPROBS = _shape({name: (_LIST | _NULL, _always(None)) for name in ("content", "refusal")})
TOKEN = _shape(
    {
        "token": (_TEXT, _string),
        "logprob": (frozenset({float, int}), _always(-9999.0)),  # OpenAI's own number for a token that is very unlikely
        "bytes": (_LIST | _NULL, _always(None)),
    }
)
TOP_TOKENS = _shape({"top_logprobs": (_LIST, lambda _: [])})

_DETAILS = {
    "prompt_tokens_details": ("cached_tokens", "cache_write_tokens", "audio_tokens", "text_tokens", "image_tokens"),
    "completion_tokens_details": (
        "reasoning_tokens", "audio_tokens", "text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens",
    ),
}  # fmt: skip
USAGE = _shape(
    {
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), (_INT, count)),
        **dict.fromkeys(_DETAILS, (_OBJECT | _NONE, _left_out)),
    }
)
DETAILS = {name: _shape(dict.fromkeys(fields, (_INT | _NONE, _count_if_any))) for name, fields in _DETAILS.items()}
