"""Who said what in an OpenAI request, sorted into turns: what every other grammar is written from. Pure.

Other grammars want two sides that take turns, with instructions, tool calls and tool results in places of their own. So
instructions (`system`, `developer`) are gathered, results become the user's words, and neighbours of one side become
one turn. Nothing is left out: a part that no one knows is refused here, and one that a dialect does not know there.

https://platform.openai.com/docs/api-reference/chat/create#chat_create-messages
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from msgspec import Struct

from gateway.core.call import Json
from gateway.core.errors import Unsupported

Side = Literal["user", "assistant"]


class TextPart(Struct, frozen=True):
    text: str
    extra: Json
    """Fields of the part that OpenAI's grammar does not have, such as `cache_control`."""
    place: str
    """Where it stands in the request, for a message about it: `messages[2].content[0]`."""


class MediaPart(Struct, frozen=True):
    """An image, a sound, a document. Either `data`, in base64, or `url`, or the `file_id` of an upload."""

    kind: Literal["image", "audio", "file"]
    media_type: str
    """Such as `image/png`; empty where it is not known."""
    data: str
    url: str
    file_id: str
    name: str
    """A document's file name."""
    detail: str
    extra: Json
    place: str


class Thought(Struct, frozen=True):
    """A sealed block of the model's own reasoning, to be given back: see `core.events.ReasoningSealed`."""

    text: str
    signature: str
    data: str


class ToolUse(Struct, frozen=True):
    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it. `arguments_object` reads it."""
    signature: str
    extra: Json
    place: str


class ToolResult(Struct, frozen=True):
    id: str
    name: str
    """Of the tool that was called, where the call is in the conversation; else empty."""
    parts: tuple[TextPart | MediaPart, ...]
    is_error: bool
    """Whether the client said so with `is_error`, for which OpenAI has no field."""
    extra: Json
    place: str


Part = TextPart | MediaPart | Thought | ToolUse | ToolResult


class Turn(Struct, frozen=True):
    side: Side
    parts: tuple[Part, ...]


class Conversation(Struct, frozen=True):
    system: tuple[TextPart, ...]
    turns: tuple[Turn, ...]


def conversation(messages: Iterable[Json]) -> Conversation:
    """The messages of an accepted request, as turns. Raises Unsupported for a part that nobody knows."""
    system: list[TextPart] = []
    said: list[tuple[Side, list[Part]]] = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message["role"]
        if role in INSTRUCTIONS:
            system += _texts(message, place)
        elif role == "user":
            _say(said, "user", _content(message, place))
        elif role == "assistant":
            parts = [*_thoughts(message), *_words(message, place), *_calls(message, place)]
            names |= {part.id: part.name for part in parts if isinstance(part, ToolUse)}
            _say(said, "assistant", parts)
        else:
            _say(said, "user", [_result(message, place, names)])
    return Conversation(tuple(system), tuple([Turn(side, tuple(parts)) for side, parts in said]))


def _say(said: list[tuple[Side, list[Part]]], side: Side, parts: Sequence[Part]) -> None:
    """Adds to the last turn, or begins another where the other side had spoken."""
    if said and said[-1][0] == side:
        said[-1][1].extend(parts)
    elif parts:
        said.append((side, list(parts)))


def answerable(messages: Sequence[Json]) -> Sequence[Json]:
    """The messages, with a last instruction made the user's word if nothing else is left to be answered.

    For grammars in which instructions stand apart, and that want the user's side to have spoken last.
    """
    spoken = (message["role"] for message in reversed(messages) if message["role"] not in INSTRUCTIONS)
    if messages[-1]["role"] in INSTRUCTIONS and next(spoken, "assistant") == "assistant":
        return [*messages[:-1], {**messages[-1], "role": "user"}]
    return messages


INSTRUCTIONS = ("system", "developer")


def arguments_object(call: ToolUse) -> Json:
    """The arguments of a call, for grammars that want an object.

    Models write broken JSON at times, and clients send it back with the history. It must not end the conversation, nor
    may it be lost: it stands in one field, as text. So does what is nested too deep to be written again.
    """
    try:
        read = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        read = call.arguments
    if len(call.arguments) > 2 * DEEPEST and _is_deep(read):
        read = call.arguments
    return read if isinstance(read, dict) else {"arguments": read} if read is not None else {}


DEEPEST = 100
"""Levels of nesting in arguments. orjson reads 1024 but writes only 254, and the request around them needs some."""


def _is_deep(value: Any) -> bool:
    """Level by level and not by recursion, which is what deep nesting would break."""
    level = [value]
    for _ in range(DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


# Messages.


def _texts(message: Json, place: str) -> list[TextPart]:
    texts: list[TextPart] = []
    for part in _content(message, place):
        if not isinstance(part, TextPart):
            raise Unsupported("Instructions can only be text.", param=part.place)
        texts.append(part)
    return texts


def _words(message: Json, place: str) -> Iterator[TextPart | MediaPart]:
    """What the assistant said before. A refusal is words like others to whoever reads the history."""
    if message.get("content") is not None:
        yield from _content(message, place)
    elif message.get("audio"):
        raise Unsupported("Only OpenAI knows what an earlier answer in `audio` said.", param=f"{place}.audio")
    if message.get("refusal"):
        yield TextPart(message["refusal"], {}, f"{place}.refusal")


def _thoughts(message: Json) -> Iterator[Thought]:
    """Sealed reasoning, as `surfaces.openai_encoder.detail` hands it out. Unsealed words are not for sending back."""
    details = message.get("reasoning_details")
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"type": "reasoning.encrypted", "data": str(data)}:
                yield Thought("", "", data)
            case {"type": "reasoning.text", "signature": str(signature)} if signature:
                text = detail.get("text")
                yield Thought(text if isinstance(text, str) else "", signature, "")


def _calls(message: Json, place: str) -> Iterator[ToolUse]:
    for index, call in enumerate(message.get("tool_calls") or ()):
        where = f"{place}.tool_calls[{index}]"
        if "function" not in call:
            raise Unsupported("This provider knows only tools of the type function.", param=where)
        function = call["function"]
        extra = _other(call, "id", "type", "function", "index", "extra_content")
        yield ToolUse(call.get("id") or "", function["name"], function["arguments"], _signature(call), extra, where)
    if legacy := message.get("function_call"):
        yield ToolUse(legacy["name"], legacy["name"], legacy["arguments"], "", {}, f"{place}.function_call")


def _signature(call: Json) -> str:
    match call.get("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            return signature
    return ""


def _result(message: Json, place: str, names: Mapping[str, str]) -> ToolResult:
    """A tool's answer; or a function's, which had no id but its name."""
    id = message.get("tool_call_id") or message.get("name") or ""
    extra = _other(message, "role", "content", "tool_call_id", "name", "is_error")
    parts = tuple(_content(message, place))
    return ToolResult(
        id, names.get(id, message.get("name") or ""), parts, message.get("is_error") is True, extra, place
    )


# Parts.


def _content(message: Json, place: str) -> list[TextPart | MediaPart]:
    """The parts of a content; for a bare string, one."""
    content = message["content"]
    if isinstance(content, str):
        return [TextPart(content, _cache_control(message), place + ".content")]
    return list(_several(message, content, place))


def _several(message: Json, content: list[Json], place: str) -> Iterator[TextPart | MediaPart]:
    for index, part in enumerate(content):
        where = f"{place}.content[{index}]"
        read = _PARTS.get(part["type"])
        if read is None:
            raise Unsupported(f"This provider does not take parts of the type {part['type']}.", param=where)
        extra = _other(part, "type", part["type"])
        if index == len(content) - 1:
            extra = {**_cache_control(message), **extra}
        yield read(part, extra, where)


def _cache_control(message: Json) -> Json:
    """Some clients mark a whole message for the provider's cache, and not its last part."""
    return {"cache_control": message["cache_control"]} if message.get("cache_control") else {}


def _text(part: Json, extra: Json, place: str) -> TextPart:
    return TextPart(part[part["type"]], extra, place)


_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]*)*?;base64,", re.IGNORECASE)


def _media(kind: Literal["image", "audio", "file"], source: str, extra: Json, place: str, **more: Any) -> MediaPart:
    """What a URL holds, or leads to."""
    known = {"media_type": "", "data": "", "url": "", "file_id": "", "name": "", "detail": "", **more}
    if inline := _DATA_URL.match(source):
        known |= {"media_type": inline[1].lower(), "data": source[inline.end() :]}
    elif source.startswith("data:"):
        raise Unsupported("A data URL must be in base64.", param=place)
    else:
        known["url"] = source
    return MediaPart(kind=kind, extra=extra, place=place, **known)


def _image(part: Json, extra: Json, place: str) -> MediaPart:
    image = part["image_url"]
    if isinstance(image, str):
        return _media("image", image, extra, place)
    return _media("image", image["url"], extra, place, detail=image.get("detail") or "")


AUDIO_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}


def _audio(part: Json, extra: Json, place: str) -> MediaPart:
    audio = part["input_audio"]
    named = audio.get("format") or "wav"
    media_type = AUDIO_TYPES.get(named, f"audio/{named}")
    return MediaPart("audio", media_type, audio["data"], "", "", "", "", extra, place)


def _file(part: Json, extra: Json, place: str) -> MediaPart:
    """A document. OpenAI takes its bytes as a data URL; some clients send the bare base64 of a PDF."""
    file = part["file"]
    data, name, id = (file.get(field) or "" for field in ("file_data", "filename", "file_id"))
    if data and ":" not in data:
        data = f"data:application/pdf;base64,{data}"
    if data:
        return _media("file", data, extra, place, name=name)
    if not id:
        raise Unsupported("A file needs `file_data` or `file_id`.", param=place)
    return MediaPart("file", "", "", "", id, name, "", extra, place)


_PARTS: dict[str, Callable[[Json, Json, str], TextPart | MediaPart]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}


def _other(holder: Json, *known: str) -> Json:
    return {name: value for name, value in holder.items() if name not in known and value is not None}
