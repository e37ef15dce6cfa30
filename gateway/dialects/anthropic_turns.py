"""A conversation in the words of the Messages API: its `system` and its `messages`. Pure.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from gateway.core.call import Json
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.conversation import (
    MediaPart,
    Part,
    TextPart,
    Thought,
    ToolResult,
    ToolUse,
    Turn,
    arguments_object,
)
from gateway.dialects.hub import fitting

ID = re.compile(r"[a-zA-Z0-9_-]+")
ID_LIMIT = 256
NAME = re.compile(r"[a-zA-Z0-9_-]+")
NAME_LIMIT = 128
"""What the API takes for the id of a call and the name of a tool. For ids it states no length."""

SEAL = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
"""Thoughts that only their provider can read are base64 here. Gemini's are JSON (`gemini_answers`). Thoughts with a
signature look the same whoever signed them; only Claude's are ever told so, on whatever platform."""

NOTHING_SAID = "(no content)"
"""For a turn of the user without a word in it, which OpenAI allows. The API refuses it ("all messages must have
non-empty content"), and without it the assistant's turn before would be one that is to be continued."""

IMAGE_TYPES = {
    "image/jpg": "image/jpeg",
    **{name: name for name in ("image/jpeg", "image/png", "image/gif", "image/webp")},
}
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")
"""Documents that are sent as plain text, by how their media types begin."""

EXTRA: Mapping[str, tuple[str, ...]] = {
    "text": ("cache_control", "citations"),
    "image": ("cache_control", "transformations"),
    "document": ("cache_control", "citations", "context", "title"),
    "tool_use": ("cache_control",),
    "tool_result": ("cache_control",),
}
"""Fields of a block that OpenAI's parts do not have. A client may write them into a part all the same."""


def system(parts: Iterable[TextPart], *more: str) -> str | list[Json] | None:
    """Instructions, the client's and then ours: as one text, or as blocks where a part is marked for the cache."""
    said = [part for part in parts if _is_sent(part)]
    if any(part.extra for part in said):
        return [*(_text(part) for part in said), *({"type": "text", "text": text} for text in more)]
    return "\n\n".join([*(part.text for part in said), *more]) or None


def messages(turns: Sequence[Turn]) -> list[Json]:
    """The turns, with what the API refuses taken out: texts without a word, and space at the end of the last one."""
    ids = _Ids()
    written = [{"role": turn.side, "content": content} for turn in turns if (content := _content(turn, ids))]
    if written and written[-1]["role"] == "assistant":
        _trim(written[-1])
    return written


def lacks_thought(turns: Sequence[Turn]) -> bool:
    """Whether the answer would go on with a turn of the assistant's that does not begin with its sealed thoughts.

    That is a turn that ends the conversation, or one whose tool calls have just been answered.
    """
    for back, turn in enumerate(reversed(turns)):
        if turn.side == "assistant":
            goes_on = back == 0 or any(isinstance(part, ToolResult) for part in turns[-back].parts)
            return goes_on and not (isinstance(turn.parts[0], Thought) and _is_sent(turn.parts[0]))
    return False


def _content(turn: Turn, ids: _Ids) -> str | list[Json]:
    parts = turn.parts
    if len(parts) == 1 and isinstance(parts[0], TextPart) and not parts[0].extra and _is_sent(parts[0]):
        return parts[0].text
    if turn.side == "user":
        # The results of tools must come before all else (the API refuses a text before them).
        parts = tuple(sorted(parts, key=lambda part: not isinstance(part, ToolResult)))
    blocks = [_BLOCKS[type(part)](part, ids) for part in parts if _is_sent(part)]
    return blocks or (NOTHING_SAID if turn.side == "user" else "")


def _is_sent(part: Part) -> bool:
    """All but texts without a word, and thoughts that another provider sealed, as far as that can be told."""
    if isinstance(part, TextPart):
        return bool(part.text) and not part.text.isspace()
    return not isinstance(part, Thought) or SEAL.fullmatch(part.data) is not None


def _trim(message: Json) -> None:
    """Takes the space off the end: "final assistant content cannot end with trailing whitespace"."""
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content.rstrip()
    elif content[-1]["type"] == "text":
        content[-1]["text"] = content[-1]["text"].rstrip()


class _Ids:
    """Ids of calls as the API takes them: fitting, and each once.

    The older function calls have no ids, only names, which come again with the next call. A result belongs to the
    latest call of its id.
    """

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}
        self._taken: set[str] = set()

    def called(self, id: str) -> str:
        fit = free = fitting(id, ID, ID_LIMIT)
        times = 1
        while free in self._taken:
            times += 1
            free = f"{fit}-{times}"
        self._taken.add(free)
        self._latest[id] = free
        return free

    def answered(self, id: str) -> str:
        return self._latest.get(id) or fitting(id, ID, ID_LIMIT)


# Blocks.


def _text(part: TextPart, ids: _Ids | None = None) -> Json:
    return {"type": "text", "text": part.text, **_extra("text", part.extra)}


def _thought(part: Thought, ids: _Ids) -> Json:
    if part.data:
        return {"type": "redacted_thinking", "data": part.data}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _tool_use(part: ToolUse, ids: _Ids) -> Json:
    name = fitting(part.name, NAME, NAME_LIMIT)
    use = {"type": "tool_use", "id": ids.called(part.id), "name": name, "input": arguments_object(part)}
    return {**use, **_extra("tool_use", part.extra)}


def _tool_result(part: ToolResult, ids: _Ids) -> Json:
    result: Json = {"type": "tool_result", "tool_use_id": ids.answered(part.id), **_extra("tool_result", part.extra)}
    said = [inner for inner in part.parts if _is_sent(inner)]
    mark = part.extra.get("cache_control")
    if mark and said and said[-1].extra.get("cache_control") is mark:  # set on the whole message: once is enough
        said[-1] = replace(said[-1], extra={})
    if len(said) == 1 and isinstance(said[0], TextPart) and not said[0].extra:
        result["content"] = said[0].text
    elif said:
        result["content"] = [_BLOCKS[type(inner)](inner, ids) for inner in said]
    return {**result, "is_error": True} if part.is_error else result


def _media(part: MediaPart, ids: _Ids) -> Json:
    if part.kind == "audio":
        raise Unsupported("This provider does not take audio.", param=part.place)
    if part.kind == "image" or part.media_type.startswith("image/"):
        return {"type": "image", "source": _image_source(part), **_extra("image", part.extra)}
    title = {"title": part.name} if part.name else {}
    return {"type": "document", "source": _document_source(part), **title, **_extra("document", part.extra)}


def _image_source(part: MediaPart) -> Json:
    if part.data:
        if part.media_type not in IMAGE_TYPES:
            raise Unsupported("This provider takes images as JPEG, PNG, GIF or WebP.", param=part.place)
        return {"type": "base64", "media_type": IMAGE_TYPES[part.media_type], "data": part.data}
    return _elsewhere(part)


def _document_source(part: MediaPart) -> Json:
    if not part.data:
        return _elsewhere(part)
    if part.media_type == "application/pdf":
        return {"type": "base64", "media_type": "application/pdf", "data": part.data}
    if part.media_type.startswith(TEXT_TYPES):
        return {"type": "text", "media_type": "text/plain", "data": _read(part)}
    raise Unsupported("This provider takes documents as PDF or plain text.", param=part.place)


def _elsewhere(part: MediaPart) -> Json:
    return {"type": "file", "file_id": part.file_id} if part.file_id else {"type": "url", "url": part.url}


def _read(part: MediaPart) -> str:
    try:
        return base64.b64decode(part.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest("A plain text file must be UTF-8 in base64.", param=part.place) from None


def _extra(kind: str, extra: Json) -> Json:
    return {name: extra[name] for name in EXTRA[kind] if name in extra} if extra else extra


_BLOCKS: dict[type[Part], Callable[[Any, _Ids], Json]] = {
    TextPart: _text,
    MediaPart: _media,
    Thought: _thought,
    ToolUse: _tool_use,
    ToolResult: _tool_result,
}
