"""The turns of a conversation, and what is in them, as Bedrock's Converse wants them. Pure.

Converse refuses empty texts, turns without content, media that it would have to fetch, and documents without a proper
name. What it cannot be told, and must not be lost, is refused here, by its place in the client's request.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gateway.core.call import Json
from gateway.core.errors import Unsupported
from gateway.dialects.bedrock_models import Family
from gateway.dialects.conversation import (
    Conversation,
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

TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]+")
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
LONGEST_ID = 64

OPENING: Json = {"role": "user", "content": [{"text": "Begin."}]}
"""What the user says where the client let the assistant begin, or gave nothing but instructions."""

NO_OUTPUT: Json = {"text": "(no output)"}
"""What a tool says that said nothing: Converse refuses an empty text there too."""

DOCUMENTS_ALONE: Json = {"text": "See the documents."}
"""What is said with documents about which nothing is said: "A text block must be included when using documents." """

PAGE_BREAK: Json = {"text": "\n"}
"""Stands between a document that is no PDF and a cache point: else Bedrock cannot pass the two on to Claude.

https://github.com/strands-agents/harness-sdk/issues/1966; this way around it was recorded.
"""

IMAGES = {"gif": "gif", "jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp"}
AUDIO = {
    "aac": "aac", "flac": "flac", "m4a": "m4a", "mp3": "mp3", "mp4": "mp4", "mpeg": "mp3", "ogg": "ogg", "opus": "opus",
    "pcm": "pcm", "pcm16": "pcm", "wav": "wav", "webm": "webm", "x-m4a": "m4a", "x-wav": "wav",
}  # fmt: skip
VIDEO = {
    "3gpp": "three_gp", "mp4": "mp4", "mpeg": "mpeg", "quicktime": "mov", "webm": "webm", "x-flv": "flv",
    "x-matroska": "mkv", "x-ms-wmv": "wmv",
}  # fmt: skip
DOCUMENTS = {
    "application/json": "txt",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}
"""The format of a document by its media type. Any other text is plain text."""
EXTENSIONS = frozenset({"csv", "doc", "docx", "html", "md", "pdf", "txt", "xls", "xlsx"})


def tool_name(name: str, place: str) -> str:
    """A tool's name. A changed one would not be the client's when the model calls it, so it is refused instead."""
    if TOOL_NAME.fullmatch(name):
        return name
    raise Unsupported(
        f"The tool's name {name[:80]!r} has characters that Bedrock does not take: only letters, digits, _ and -, up to"
        " 64 of them.",
        param=place,
    )


def cache_point(extra: Json) -> list[Json]:
    """The mark behind a part that the client wants cached, as Anthropic's `cache_control` says it."""
    match extra.get("cache_control"):
        case {"ttl": str(ttl)}:
            return [{"cachePoint": {"type": "default", "ttl": ttl}}]
        case {"type": _}:
            return [{"cachePoint": {"type": "default"}}]
    return []


def system_blocks(parts: Iterable[TextPart], family: Family) -> list[Json]:
    """The instructions."""
    blocks: list[Json] = []
    for part in parts:
        if not _blank(part.text):
            blocks.append({"text": part.text})
            blocks += cache_point(part.extra) if "system" in family.caches else []
    return blocks


def messages(talk: Conversation, family: Family) -> list[Json]:
    """The turns. The user speaks first, the sides alternate, and no turn is empty."""
    writer = _Writer(family)
    written: list[Json] = []
    for turn in talk.turns:
        blocks = writer.blocks(turn)
        if not blocks:
            continue
        if written and written[-1]["role"] == turn.side:  # what stood between them was empty
            written[-1]["content"] += blocks
        else:
            written.append({"role": turn.side, "content": blocks})
    if not written or written[0]["role"] != "user":
        written.insert(0, OPENING)
    return written


def _blank(text: str) -> bool:
    return not text or text.isspace()


class _Writer:
    """Writes the blocks of one request, in which no two documents may share a name."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._names: set[str] = set()

    def blocks(self, turn: Turn) -> list[Json]:
        blocks = [block for part in turn.parts for block in self._part(part)]
        if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
            blocks.append(DOCUMENTS_ALONE)
        return blocks

    def _part(self, part: Part) -> list[Json]:
        blocks = self._written(part)
        point = cache_point(_marked(part)) if "messages" in self._family.caches else []
        if not blocks or not point:
            return blocks
        document = blocks[-1].get("document")
        return [*blocks, *([PAGE_BREAK] if document and document["format"] != "pdf" else []), *point]

    def _written(self, part: Part) -> list[Json]:
        match part:
            case TextPart() | MediaPart():
                return self._said(part)
            case Thought():
                return [{"reasoningContent": _thought(part)}] if self._family.thoughts else []
            case ToolUse():
                return [{"toolUse": _tool_use(part)}]
            case ToolResult():
                return [{"toolResult": self._result(part)}]

    def _said(self, part: TextPart | MediaPart) -> list[Json]:
        if isinstance(part, MediaPart):
            return [self._media(part)]
        return [] if _blank(part.text) else [{"text": part.text}]

    def _result(self, result: ToolResult) -> Json:
        content = [block for part in result.parts for block in self._said(part)]
        told: Json = {"toolUseId": fitting(result.id, TOOL_ID, LONGEST_ID), "content": content or [NO_OUTPUT]}
        return {**told, "status": "error"} if result.is_error else told

    def _media(self, part: MediaPart) -> Json:
        if part.file_id:
            raise Unsupported("Bedrock knows no uploaded files: send the file's bytes as a data URL.", param=part.place)
        if not part.data:
            raise Unsupported("Bedrock fetches nothing: send the bytes as a data URL.", param=part.place)
        kind, _, subtype = part.media_type.partition("/")
        write = _MEDIA.get(kind)
        if write is not None and not (part.kind == "file" and _extension(part.name)):
            return write(part, subtype)
        return self._document(part)

    def _document(self, part: MediaPart) -> Json:
        document: Json = {"format": _document_format(part), "name": self._unique(part.name)}
        document |= {name: part.extra[name] for name in ("citations", "context") if name in part.extra}
        return {"document": {**document, "source": {"bytes": part.data}}}

    def _unique(self, file: str) -> str:
        """A document's name, of the few characters that are allowed, unlike any other in the request."""
        stem = file.rpartition(".")[0] or file
        wanted = " ".join(re.sub(r"[^a-zA-Z0-9\s()\[\]-]", " ", stem).split())[:180] or "document"
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted} ({number})"
        self._names.add(name)
        return name


def _marked(part: Part) -> Json:
    """Where a part says whether it is to be cached; a tool's result may say it of its last part."""
    if isinstance(part, Thought):
        return {}
    if isinstance(part, ToolResult) and not part.extra.get("cache_control") and part.parts:
        return part.parts[-1].extra
    return part.extra


def _tool_use(call: ToolUse) -> Json:
    id = fitting(call.id, TOOL_ID, LONGEST_ID)
    return {"toolUseId": id, "name": tool_name(call.name, call.place), "input": arguments_object(call)}


def _thought(thought: Thought) -> Json:
    if thought.data:
        return {"redactedContent": thought.data}
    return {"reasoningText": {"text": thought.text, "signature": thought.signature}}


def _document_format(part: MediaPart) -> str:
    known = _extension(part.name) or DOCUMENTS.get(part.media_type)
    if known is None and not part.media_type.startswith("text/"):
        raise _untaken(part)
    return known or "txt"


def _extension(name: str) -> str | None:
    """A file's extension, if it is one of a document. It is surer than a media type: browsers send odd ones."""
    extension = name.rpartition(".")[2].lower()
    return extension if extension in EXTENSIONS and "." in name else None


def _writer_of(kind: str, formats: dict[str, str]) -> Callable[[MediaPart, str], Json]:
    """Writes media of one kind, whose format is told by the media type."""

    def written(part: MediaPart, subtype: str) -> Json:
        if subtype not in formats:
            raise _untaken(part)
        return {kind: {"format": formats[subtype], "source": {"bytes": part.data}}}

    return written


_MEDIA = {
    "image": _writer_of("image", IMAGES),
    "audio": _writer_of("audio", AUDIO),
    "video": _writer_of("video", VIDEO),
}


def _untaken(part: MediaPart) -> Unsupported:
    media_type = part.media_type or "of an unknown type"
    return Unsupported(f"Bedrock takes no {part.kind} {media_type[:80]}.", param=part.place)
