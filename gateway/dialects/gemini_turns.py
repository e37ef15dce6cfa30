"""A conversation as Gemini's `contents`: two sides that take turns, in parts. Pure.

https://ai.google.dev/api/caching#Content
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from gateway.core.call import Json
from gateway.core.errors import Unsupported
from gateway.dialects.conversation import (
    Conversation,
    MediaPart,
    Part,
    TextPart,
    Thought,
    ToolResult,
    ToolUse,
    arguments_object,
)
from gateway.dialects.gemini_models import Family

ROLES = {"user": "user", "assistant": "model"}

UNSIGNED = "skip_thought_signature_validator"
"""Stands for a signature that is not there. The models of some families refuse a call without any, and a history from
another provider, or from a client that keeps only the fields it knows, has none.

https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
"""

SEALED = frozenset({"thoughtSignature", "executableCode", "codeExecutionResult", "toolCall", "toolResponse"})
"""What the answers hand out sealed: see `gemini_answers`. One of them is in each such part."""

PART_FIELDS = ("videoMetadata", "video_metadata", "mediaResolution", "media_resolution")
"""Fields that only Gemini has for a picture, a sound or a film. A client may set them on its part."""

MEDIA_TYPES: dict[str, str] = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp",
    "wav": "audio/wav", "mp3": "audio/mp3", "aiff": "audio/aiff", "aac": "audio/aac", "ogg": "audio/ogg",
    "flac": "audio/flac", "m4a": "audio/m4a", "opus": "audio/opus",
    "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg", "mov": "video/mov", "avi": "video/avi",
    "webm": "video/webm", "wmv": "video/wmv", "3gp": "video/3gpp",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "xml": "text/xml", "rtf": "text/rtf", "css": "text/css", "py": "text/x-python", "js": "text/javascript",
    "json": "application/json",
}  # fmt: skip
"""By the ending of a name, for what has no media type. The system's own table differs from machine to machine."""

USUAL_TYPES = {"image": "image/jpeg", "audio": "audio/wav", "file": "application/pdf"}
"""For data with neither a type nor a name: it has to have one."""


def contents(said: Conversation, family: Family) -> list[Json]:
    """The turns. Instructions alone are the user's words: a request must have some."""
    if not said.turns:
        return [{"role": "user", "parts": [{"text": part.text} for part in said.system]}]
    return [{"role": ROLES[turn.side], "parts": PARTS[turn.side](turn.parts, family)} for turn in said.turns]


def _user_parts(parts: Iterable[Part], family: Family) -> list[Json]:
    """Results first: as many as there were calls, and next to each other (recorded so, with pictures behind them)."""
    results: list[Json] = []
    rest: list[Json] = []
    for part in parts:
        match part:
            case ToolResult():
                inside, beside = _result_media(part, family)
                results.append(_result(part, inside))
                rest += beside
            case MediaPart():
                rest.append(_media(part))
            case TextPart(text=text) if text:
                rest.append({"text": text})
    return [*results, *rest] or [{"text": ""}]


def _model_parts(parts: Iterable[Part], family: Family) -> list[Json]:
    """What the model said, with its signatures where it had put them: on a call, or on the text they came with."""
    told: list[Json] = []
    signature: Json = {}  # of the text that follows; there may be none, for it may come in a part of its own
    called = False
    for part in parts:
        match part:
            case Thought(data=data):
                sealed = unsealed(data)
                if sealed.keys() == {"thoughtSignature"}:
                    told += _alone(signature)
                    signature = sealed
                elif sealed:
                    told.append(sealed)
            case TextPart(text=text) if text:
                told.append({"text": text, **signature})
                signature = {}
            case MediaPart():
                told.append(_media(part))
            case ToolUse():
                told += _alone(signature)
                told.append(_call(part, must_sign=family.signed and not called))
                signature, called = {}, True
    return [*told, *_alone(signature)] or [{"text": ""}]


PARTS = {"user": _user_parts, "assistant": _model_parts}


def _alone(signature: Json) -> list[Json]:
    """A signature without a text, as streams have it at their end (recorded)."""
    return [{"text": "", **signature}] if signature else []


def unsealed(data: str) -> Json:
    """The part that was sealed; empty for what another provider sealed, which only that one can read."""
    try:
        part: Json = orjson.loads(data) if data.startswith("{") else {}
    except orjson.JSONDecodeError:
        return {}
    return {} if SEALED.isdisjoint(part) else part


# Tools.


def _call(call: ToolUse, must_sign: bool) -> Json:
    """A call. Of several at once only the first is signed, and only the first has to be."""
    told: Json = {"name": call.name, "args": _json_object(call.arguments) or arguments_object(call)}
    if call.id:
        told["id"] = call.id  # recorded: any id is taken, also another provider's
    signature = call.signature or (UNSIGNED if must_sign else "")
    return {"functionCall": told, **({"thoughtSignature": signature} if signature else {})}


def _result(result: ToolResult, inside: list[Json]) -> Json:
    """A tool's answer, found by the name of the tool."""
    told: Json = {"name": result.name or result.id, "response": _response(result)}
    if result.id:
        told["id"] = result.id
    if inside:
        told["parts"] = inside
    return {"functionResponse": told}


def _response(result: ToolResult) -> Json | orjson.Fragment:
    """What a tool said, as the object that Gemini wants.

    Not as the object it is where that has a `$ref`: newer models take it for the name of a picture beside it, and
    refuse the request (https://github.com/vercel/ai/issues/14369).
    """
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    if result.is_error:
        return {"error": text}
    return ('"$ref"' not in text and _json_object(text)) or {"result": text}


def _json_object(text: str) -> orjson.Fragment | None:
    """A text that is a JSON object, to be written as it is: read and written again, long numbers would be rounded."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return orjson.Fragment(text)


def _result_media(result: ToolResult, family: Family) -> tuple[list[Json], list[Json]]:
    """The pictures of a result: those that may stand in it, and those that stand beside it."""
    media = [part for part in result.parts if isinstance(part, MediaPart)]
    inside = [_media(part) for part in media if part.data and family.rich_results]
    beside = [_media(part) for part in media if not (part.data and family.rich_results)]
    return inside, beside


# Media.


def _media(part: MediaPart) -> Json:
    """Bytes as they are; an address for Gemini to fetch. Raises Unsupported for an upload that is not Gemini's own."""
    more = {name: part.extra[name] for name in PART_FIELDS if name in part.extra}
    if part.data:
        media_type = part.media_type or _guessed(part.name) or USUAL_TYPES[part.kind]
        return {"inlineData": {"mimeType": media_type, "data": part.data}, **more}
    uri = part.url or part.file_id
    if ":" not in uri:
        problem = "Gemini knows only its own uploads, by their URI (https://.../files/...)."
        raise Unsupported(problem, param=part.place)
    media_type = part.media_type or _guessed(part.name) or _guessed(uri.partition("?")[0])
    return {"fileData": {"fileUri": uri, **({"mimeType": media_type} if media_type else {})}, **more}


def _guessed(name: str) -> str:
    return MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "")
