"""Reading Gemini's answers, whole and streamed. Pure.

A stream is a row of `GenerateContentResponse` objects, and a whole answer is one of them, so both are told by the same
`_Story`. There is no full stop: a story is complete when each candidate that began has a finish reason and the
connection has ended. Candidates go on after a first finish reason (recorded: four in one stream), so it is told at the
end, as are the token counts, of which the last are right, and the sources, whose places are bytes of the whole text.

https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    LogProbs,
    Pictured,
    Reasoning,
    ReasoningSealed,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.gemini_errors import blocked, failure_in, refusal
from gateway.dialects.openai_shapes import count
from gateway.wire.sse import Frame, Frames

__all__ = ["Decoder", "answer", "refusal", "stream"]

FINISHES: dict[str | int, FinishReason] = {
    **dict.fromkeys(("MAX_TOKENS", "CONTINUATION", 2), "length"),
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
         "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", 3, 4),
        "content_filter",
    ),
}  # fmt: skip
"""What is not here is a plain stop. Numbers are the same reasons, from servers asked for `enum-encoding=int`."""

FAILURES: dict[str | int, Failure] = {
    **dict.fromkeys(
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
         "IMAGE_OTHER", "NO_IMAGE"),
        Failure.MALFORMED,
    ),
    "MISSING_THOUGHT_SIGNATURE": Failure.REJECTED,
    "PUP_LIMITED_DISABLED": Failure.CREDENTIALS,
    "OTHER": Failure.SERVER_ERROR,
    5: Failure.SERVER_ERROR,
}  # fmt: skip
"""Reasons for which the model says nothing. Where it did say something, that is the answer, and the reason a stop."""


class Decoder:
    """Tells one stream as events."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._story = _Story()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises UpstreamError when the upstream says it failed, or makes no sense."""
        for frame in self._frames.feed(_with_lf(data)):
            yield from self._told(frame)

    def end(self) -> Iterator[Event]:
        """The connection has ended. Raises UpstreamError unless every candidate was finished."""
        try:
            for frame in self._frames.end():
                yield from self._told(frame)
        except UpstreamError as error:
            if error.failure is Failure.MALFORMED:  # half an event
                raise UpstreamError(Failure.TRUNCATED, f"the stream ended within an event: {error.said}") from error
            raise
        with malformed("the end of a stream"):
            yield from self._story.end()

    @property
    def told(self) -> Usage:
        """Each chunk tells what has been counted so far."""
        return self._story.told

    def _told(self, frame: Frame) -> Iterator[Event]:
        with malformed("an event that is no chunk"):
            for chunk in _chunks(frame):
                yield from self._story.tell(chunk)


def stream(target: Target) -> Decoder:
    """A fresh reader for one streamed answer."""
    return Decoder()


def answer(reply: UpstreamReply) -> Iterator[Event]:
    """A whole answer, told as the same story that a stream would tell."""
    with malformed("an answer that is no JSON, or of another grammar"):
        story = _Story()
        yield from story.tell(orjson.loads(reply.body))
        yield from story.end(unsaid="STOP")  # what came whole is not cut off


def _with_lf(data: bytes) -> bytes:
    """The same events with shorter line ends. Gemini's are CRLF (recorded), which cost `Frames` 6 us more each.

    Not where a CR that is a line end of its own may stand before a CRLF: two line ends would become one.
    """
    return data if data.startswith(b"\r") or b"\r\r" in data else data.replace(b"\r\n", b"\n")


def _chunks(frame: Frame) -> list[Json]:
    """The chunks of one event.

    Without `alt=sse` the answer is one JSON array, and an error in the middle of a stream is a bare object between
    two blank lines: neither has `data:` before it.
    """
    if frame.data is not None:
        return [orjson.loads(frame.data)] if frame.data else []
    if not frame.raw.lstrip().startswith((b"{", b"[")):
        return []
    said = orjson.loads(frame.raw)
    return said if isinstance(said, list) else [said]


class _Story:
    """Tells chunks as events."""

    def __init__(self) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Json = {}
        self._id = ""

    def tell(self, chunk: Json) -> Iterator[Event]:
        if "error" in chunk:
            raise failure_in(chunk)
        if counts := chunk.get("usageMetadata"):
            self._usage = counts
        candidates = chunk.get("candidates")
        if not candidates:
            if not self._candidates and (chunk.get("promptFeedback") or {}).get("blockReason"):
                raise blocked(chunk["promptFeedback"])
            return
        if not self._candidates:
            self._id = _text_in(chunk, "responseId")
            yield Started(self._id, _text_in(chunk, "modelVersion"), _seconds(chunk.get("createTime")))
        for position, told in enumerate(candidates):
            index = told.get("index", position)
            candidate = self._candidates.get(index) or self._begin(index)
            yield from candidate.tell(told)

    def end(self, unsaid: str | None = None) -> Iterator[Event]:
        """What can be told only now. A finish reason that was not said is `unsaid`, or the story is not complete."""
        if not self._candidates:
            raise UpstreamError(Failure.MALFORMED, "an answer without a single candidate")
        for index in sorted(self._candidates):
            yield from self._candidates[index].end(unsaid)
        usage = _usage(self._usage)
        if usage.total:
            yield UsageReported(usage)

    @property
    def told(self) -> Usage:
        """What has been counted so far, if it can be read."""
        with suppress(TypeError, AttributeError):
            return _usage(self._usage)
        return Usage()

    def _begin(self, index: Any) -> _Candidate:
        if type(index) is not int or index < 0:
            raise ValueError(index)
        self._candidates[index] = _Candidate(index, self._id)
        return self._candidates[index]


class _Candidate:
    """One of the answers, as far as it has been told."""

    def __init__(self, index: int, answer_id: str) -> None:
        self._index = index
        self._answer_id = answer_id
        self._text: list[str] = []
        self._calls = 0
        self._pictures = 0
        self._finish: Any = None
        self._finish_message = ""
        self._grounding: Json = {}
        self._citations: Json = {}

    def tell(self, candidate: Json) -> Iterator[Event]:
        content = candidate.get("content")
        for part in (content.get("parts") or ()) if content else ():
            for kind, tell in PARTS.items():
                if kind in part:
                    yield from tell(self, part)
                    break
        if not candidate.keys() <= USUAL:
            yield from self._beside(candidate)

    def _beside(self, candidate: Json) -> Iterator[Event]:
        """What a candidate says of itself, beside its content."""
        if candidate.get("finishReason") is not None:
            self._finish = candidate["finishReason"]
            self._finish_message = str(candidate.get("finishMessage", ""))
        self._grounding = candidate.get("groundingMetadata") or self._grounding
        self._citations = candidate.get("citationMetadata") or self._citations
        if chosen := (candidate.get("logprobsResult") or {}).get("chosenCandidates"):
            others = candidate["logprobsResult"].get("topCandidates") or []
            yield LogProbs(tuple(_likely(token, at, others) for at, token in enumerate(chosen)), self._index)

    def end(self, unsaid: str | None) -> Iterator[Event]:
        """The sources, and why the candidate ended. Raises UpstreamError when it failed, or has not ended."""
        finish = unsaid if self._finish is None else self._finish
        if finish is None:
            raise UpstreamError(Failure.TRUNCATED, "the stream ended without a finish reason")
        if finish in FAILURES and not (self._text or self._calls or self._pictures):
            raise UpstreamError(FAILURES[finish], f"{finish}: {self._finish_message}")
        yield from self._sources()
        reason = FINISHES.get(finish, "stop")
        yield Finished("tool_calls" if reason == "stop" and self._calls else reason, self._index)

    # Parts.

    def words(self, part: Json) -> Iterator[Event]:
        text = _text_in(part, "text")
        if part.get("thought"):
            if text:
                yield Reasoning(text, self._index)
        elif text:
            self._text.append(text)
            yield Text(text, self._index)
        if "thoughtSignature" in part:
            yield self._seal({"thoughtSignature": part["thoughtSignature"]})

    def call(self, part: Json) -> Iterator[Event]:
        """A call of a tool. Most models give it no id, so it gets one, which the next turn sends back."""
        call, index = part["functionCall"], self._calls
        if call.get("partialArgs") or call.get("willContinue"):
            raise ValueError("arguments in pieces, for which nobody asked")
        self._calls += 1
        id = _text_in(call, "id") or f"call_{self._answer_id or _digest(call)}_{self._index}_{index}"
        yield ToolCallStarted(index, id, _text_in(call, "name"), self._index, _text_in(part, "thoughtSignature"))
        yield ToolCallArguments(index, orjson.dumps(call.get("args") or {}).decode(), self._index)

    def media(self, part: Json) -> Iterator[Event]:
        """A picture. Events carry no sound, and requests that ask for some are refused."""
        kind, data = _text_in(part["inlineData"], "mimeType"), _text_in(part["inlineData"], "data")
        if kind.startswith("image/"):
            self._pictures += 1
            yield Pictured(f"data:{kind};base64,{data}", self._index)
        if "thoughtSignature" in part:
            yield self._seal({"thoughtSignature": part["thoughtSignature"]})

    def work(self, part: Json) -> Iterator[Event]:
        """What the model did with Google's own tools. No words for the client: the next turn gives it back."""
        yield self._seal(part)

    def _seal(self, part: Json) -> Event:
        """Told as `data`: a part in JSON, which is how `gemini.unsealed` knows it from another provider's."""
        return ReasoningSealed(data=orjson.dumps(part).decode(), choice=self._index)

    # Sources.

    def _sources(self) -> Iterator[Event]:
        """What the answer rests on: in the places that it supports; without any where none is named."""
        if not (self._grounding or self._citations):
            return
        text = "".join(self._text)
        found = dict(enumerate(_source(chunk) for chunk in self._grounding.get("groundingChunks") or ()))
        unplaced = dict(found)
        for support in self._grounding.get("groundingSupports") or ():
            start, end = _place(support.get("segment") or {}, text)
            for index in support.get("groundingChunkIndices") or ():
                unplaced.pop(index, None)
                if index in found:  # some name a source that is not told (recorded)
                    url, title = found[index]
                    yield Cited(url, title, start, end, self._index)
        for url, title in unplaced.values():
            yield Cited(url, title, choice=self._index)
        for name in ("citations", "citationSources"):  # Vertex's name, and the Gemini API's
            for citation in self._citations.get(name) or ():
                if uri := _text_in(citation, "uri"):
                    start, end = _place(citation, text)
                    yield Cited(uri, _text_in(citation, "title"), start, end, self._index)


PARTS: dict[str, Callable[[_Candidate, Json], Iterator[Event]]] = {
    "text": _Candidate.words,
    "functionCall": _Candidate.call,
    "inlineData": _Candidate.media,
    "executableCode": _Candidate.work,
    "codeExecutionResult": _Candidate.work,
    "toolCall": _Candidate.work,
    "toolResponse": _Candidate.work,
    "thoughtSignature": _Candidate.words,  # alone, without so much as an empty text
}
"""The kinds of parts, by the field that holds them."""

USUAL = frozenset({"content", "index"})
"""All that nearly every chunk has of a candidate."""


def _source(chunk: Json) -> tuple[str, str]:
    """URL and title. A file of the client's own has no address."""
    for kind in ("web", "maps"):
        if source := chunk.get(kind):
            return _text_in(source, "uri"), _text_in(source, "title")
    source = chunk.get("retrievedContext") or {}
    title = _text_in(source, "title") or _text_in(source, "fileSearchStore")
    return _text_in(source, "uri") or f"document:{title}", title


def _place(segment: Json, text: str) -> tuple[int, int]:
    """Where a segment stands in the text, in characters. Gemini counts bytes of UTF-8.

    It counts before it trims some white space, so places can be off by a few bytes (recorded); the segment's own words,
    where it quotes them, are right.
    """
    whole = text.encode()
    start, end = (len(whole[: _count(segment, name)].decode(errors="ignore")) for name in ("startIndex", "endIndex"))
    quoted = _text_in(segment, "text")
    if quoted and text[start:end] != quoted and (found := text.find(quoted, max(0, start - len(quoted)))) >= 0:
        return found, found + len(quoted)
    return start, end


def _likely(token: Json, at: int, others: list[Json]) -> Json:
    """The likelihood of one token, as OpenAI tells it."""
    likeliest = others[at].get("candidates") or () if at < len(others) else ()
    return {**_token(token), "top_logprobs": [_token(other) for other in likeliest]}


def _token(token: Json) -> Json:
    text = _text_in(token, "token")
    return {"token": text, "logprob": float(token.get("logProbability", 0.0)), "bytes": list(text.encode())}


def _usage(counts: Json) -> Usage:
    """Gemini's counts add up: prompt, what its own tools read, thoughts, answer. Cached tokens are in the prompt's."""
    thoughts = _tokens(counts, "thoughtsTokenCount")
    return Usage(
        input=_tokens(counts, "promptTokenCount") + _tokens(counts, "toolUsePromptTokenCount"),
        output=_tokens(counts, "candidatesTokenCount") + thoughts,
        cache_read=_tokens(counts, "cachedContentTokenCount"),
        reasoning=thoughts,
    )


def _digest(call: Json) -> str:
    """In place of an answer's id, which older servers do not tell."""
    return hashlib.sha256(orjson.dumps(call)).hexdigest()[:16]


# What an upstream sent, checked: `malformed` turns what these raise into its failure.


def _text_in(holder: Json, name: str) -> str:
    text = holder.get(name) or ""
    if type(text) is not str:
        raise TypeError(name)
    return text


def _count(holder: Json, name: str) -> int:
    count = holder.get(name) or 0
    if type(count) is not int or count < 0:
        raise TypeError(name)
    return count


def _tokens(counts: Json, name: str) -> int:
    """What no one can have counted is 0: no answer is lost for it."""
    return max(0, count(counts.get(name)))


def _seconds(time: object) -> int:
    """Of a time in RFC 3339, which only Vertex tells."""
    if not isinstance(time, str):
        return 0
    moment = datetime.fromisoformat(time)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
