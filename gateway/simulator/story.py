"""
What a simulated model says, whichever API it is asked through.

Without tools it says back what the user said. With tools it calls them, with arguments made from their schemas; given
their results, it quotes them. Asked for JSON, it gives an example of the schema. A grammar reads a request into a
`Question` and spells the `Story` that `tell` makes of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal, NamedTuple
from zlib import crc32

import orjson

from gateway.core.call import Json
from gateway.core.events import FinishReason, Reasoning, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator.words import example, pieces

MOST_CALLS = 3
"""Tools called at once, where the client allows several."""
IMAGE_TOKENS = 85
"""What OpenAI charges for an image in low detail; the others are no dearer here."""
THOUGHT = "Let me see what was asked for, and answer just that."


@dataclass(frozen=True, slots=True)
class Quote:
    """Words out of a document that the user showed."""

    text: str
    document: int
    """Which of them, from 0."""
    title: str
    choice: int = 0


Output = Reasoning | Text | Quote | ToolCallStarted | ToolCallArguments
"""One completion token each."""


class Document(NamedTuple):
    """A document that may be quoted."""

    title: str
    text: str


class Tool(NamedTuple):
    """A tool that may be called."""

    name: str
    parameters: Any = None
    """Its arguments' JSON schema."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks for, in no API's words."""

    said: str | None = None
    """What the user said last; None if they never spoke."""
    images: int = 0
    """How many images they showed with it."""
    documents: tuple[Document, ...] = ()
    """Those that they want quoted."""
    results: tuple[str, ...] = ()
    """What tools have answered since."""
    tools: tuple[Tool, ...] = ()
    """Those that may be called now."""
    several: bool = True
    """Whether more than one may be called at once."""
    schema: Any = None
    """Of the JSON that is wanted, if JSON is."""
    limit: int | None = None
    """Of completion tokens."""
    stops: tuple[str, ...] = ()
    thinks: bool = False
    """Whether the model shows what it thinks before it speaks."""
    prompt_tokens: int = 0
    marked_tokens: int = 0
    """Of them, those that the client marked for the provider's cache, where the API has such marks."""


@dataclass(frozen=True, slots=True)
class Story:
    """What one choice says, a token at a time, and why it stops."""

    output: list[Output]
    finish: FinishReason
    stop: str | None = None
    """The stop sequence that it was about to say."""

    @property
    def thought(self) -> str:
        return "".join(event.text for event in self.output if isinstance(event, Reasoning))

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.output if isinstance(event, (Text, Quote)))

    @property
    def calls(self) -> list[Called]:
        """The calls, whole."""
        calls: list[Called] = []
        for event in self.output:
            match event:
                case ToolCallStarted(id=id, name=name):
                    calls.append(Called(id, name, ""))
                case ToolCallArguments(json=json):
                    calls[-1] = calls[-1]._replace(arguments=calls[-1].arguments + json)
                case Reasoning() | Text() | Quote():
                    pass
        return calls

    @property
    def blocks(self) -> list[Block]:
        """The output cut where something else begins: a thought, a text, each call."""
        blocks: list[Block] = []
        for event in self.output:
            kind = _KINDS[type(event)]
            if isinstance(event, (ToolCallStarted, Quote)) or not blocks or blocks[-1].kind != kind:
                blocks.append(Block(kind, []))
            blocks[-1].events.append(event)
        return blocks


class Called(NamedTuple):
    """A tool call, with its arguments as JSON."""

    id: str
    name: str
    arguments: str

    @property
    def given(self) -> Json:
        """The arguments as an object; empty where they were cut short."""
        try:
            given = orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return {}
        return given if isinstance(given, dict) else {}


BlockKind = Literal["thought", "text", "quote", "call"]

_KINDS: dict[type, BlockKind] = {
    Reasoning: "thought",
    Text: "text",
    Quote: "quote",
    ToolCallStarted: "call",
    ToolCallArguments: "call",
}


class Block(NamedTuple):
    """What is said in one go."""

    kind: BlockKind
    events: list[Output]


CallId = Callable[[int, str], str]
"""Makes the id of a call of its place and the tool's name."""


def tell(question: Question, call_id: CallId, choice: int = 0) -> Story:
    """What a choice has to say, as far as the request's limits let it."""
    thought: list[Output] = [Reasoning(piece, choice) for piece in pieces(THOUGHT)] if question.thinks else []
    stop = None
    if question.tools and not question.results:
        output, finish = [*thought, *_calls(question, call_id, choice)], "tool_calls"
    else:
        text, stop = _until_stopped(_words(question), question.stops)
        said: list[Output] = [Text(piece, choice) for piece in pieces(text)]
        output, finish = [*thought, *said, *_quotes(question, choice)], "stop"
    if question.limit is not None and len(output) > question.limit:
        return Story(output[: question.limit], "length")
    return Story(output, "tool_calls" if finish == "tool_calls" else "stop", stop)


def _calls(question: Question, call_id: CallId, choice: int) -> Iterator[Output]:
    for index, tool in enumerate(question.tools[: MOST_CALLS if question.several else 1]):
        yield ToolCallStarted(index, call_id(index, tool.name), tool.name, choice)
        for piece in pieces(example(tool.parameters or {"type": "object"})):
            yield ToolCallArguments(index, piece, choice)


def _quotes(question: Question, choice: int) -> Iterator[Output]:
    """The first sentence of each document, after words of introduction."""
    for place, document in enumerate(question.documents):
        yield Text(" It says: ", choice)
        yield Quote(first_sentence(document.text), place, document.title, choice)


def first_sentence(text: str) -> str:
    """All up to its full stop, or the whole text."""
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]


def _words(question: Question) -> str:
    if question.schema is not None:
        return example(question.schema)
    if question.results:
        return "The tools answered: " + "; ".join(question.results)
    if question.said is None:
        return "You said nothing."
    shown = question.images
    return f"You said: {question.said}" + (f" ({shown} image{'' if shown == 1 else 's'})" if shown else "")


def _until_stopped(text: str, stops: Iterable[str]) -> tuple[str, str | None]:
    ends = [(text.find(stop), stop) for stop in stops if stop and stop in text]
    end, stop = min(ends, default=(len(text), None))
    return text[:end], stop


def interleaved(stories: Iterable[Story]) -> Iterator[Output]:
    """The choices take turns, as they do when an API streams several."""
    for turn in zip_longest(*(story.output for story in stories)):
        yield from (event for event in turn if event is not None)


# For reading requests


@dataclass(slots=True)
class Reading:
    """What has been heard so far of a conversation that is read from its start."""

    said: str | None = None
    images: int = 0
    documents: tuple[Document, ...] = ()
    results: list[str] = field(default_factory=list)
    words: int = 0
    """Of all texts, tools and images."""

    def user(self, texts: Iterable[str], images: int = 0, documents: Iterable[Document] = ()) -> None:
        """The user speaks: tools that answered before are of no interest any more."""
        self.said, self.images, self.documents = " ".join(texts), images, tuple(documents)
        self.results.clear()
        self.count(" ".join([self.said, *(document.text for document in self.documents)]), images)

    def result(self, text: str, images: int = 0) -> None:
        """A tool answers."""
        self.results.append(text)
        self.count(text, images)

    def count(self, text: str, images: int = 0) -> None:
        """What stands in the prompt, besides."""
        self.words += len(text.split()) + IMAGE_TOKENS * images


def json_schema(schema: Any) -> Any:
    """The schema of the JSON to give, for one that may be missing."""
    return schema or {"type": "object", "properties": {"answer": {"type": "string"}}}


# For spelling answers

LONG_PROMPT = 1024
"""Tokens. From here on OpenAI's cache works, without being asked: https://platform.openai.com/docs/guides/prompt-caching."""
CACHE_STEP = 128
"""Tokens that it reads at once, so that it never has the very end of a prompt."""


def remembered(prompt_tokens: int) -> int:
    """Tokens that an automatic cache read. Nothing is kept here: a long prompt is taken for one that came before."""
    return 0 if prompt_tokens < LONG_PROMPT else (prompt_tokens - 1) // CACHE_STEP * CACHE_STEP


def token(
    of: bytes, length: int, alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
) -> str:
    """Letters that look random and follow from `of`."""
    digits = b"".join(hashlib.sha256(b"%d" % part + of).digest() for part in range(-(-length // 32)))
    return "".join(alphabet[digit % len(alphabet)] for digit in digits[:length])


def sign(text: str) -> str:
    """The signature that a provider would give a piece of reasoning, or a call, to know it again by."""
    return base64.b64encode(hashlib.sha512(b"simulated" + text.encode(errors="replace")).digest()).decode()


def forged(text: str, signature: str) -> bool:
    """Whether a signature was not made for this text. Longer ones are a real provider's: they are let pass."""
    return signature != sign(text) and len(signature) <= len(sign(""))


def padding(of: bytes, most: int = 44) -> str:
    """Letters that hide how long an event is. An API's are random; these follow from the event."""
    return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[: crc32(of) % most + 1]
