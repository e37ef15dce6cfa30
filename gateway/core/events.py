"""What a model says, in order, whoever said it. Dialects produce these; surfaces spell them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Usage(Struct, frozen=True):
    """Token counts, in one convention for every provider.

    `input` includes tokens read from and written to a cache; `output` includes reasoning tokens.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.reasoning + other.reasoning,
        )


class Started(Struct, frozen=True):
    """The answer opens. `created` is in seconds since 1970, 0 where the upstream named no time."""

    id: str
    model: str
    created: int = 0


class Text(Struct, frozen=True):
    text: str
    choice: int = 0


class Reasoning(Struct, frozen=True):
    """The next words of what the model thinks before it speaks."""

    text: str
    choice: int = 0


class ReasoningSealed(Struct, frozen=True):
    """A block of reasoning is complete, and the provider wants it back in the next turn exactly so.

    Either `text` with the provider's `signature` of it, or `data`, which only the provider can read. The words of
    `text` have been told as `Reasoning` before: here they stand once more, whole.
    """

    text: str = ""
    signature: str = ""
    data: str = ""
    choice: int = 0


class Refusal(Struct, frozen=True):
    text: str
    choice: int = 0


class ToolCallStarted(Struct, frozen=True):
    """A tool is called. `index` counts the calls of one choice from 0."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str = ""
    """What the provider wants back with this call in the next turn (Gemini's `thoughtSignature`)."""


class ToolCallArguments(Struct, frozen=True):
    """The next piece of a tool call's arguments, which together are one JSON text."""

    index: int
    json: str
    choice: int = 0


class Cited(Struct, frozen=True):
    """A source for what was said between two characters of the text, counted from its beginning."""

    url: str
    """Where it is, or `document:...` for one that the client itself had sent."""
    title: str = ""
    start: int = 0
    end: int = 0
    choice: int = 0


class Pictured(Struct, frozen=True):
    """The model drew: an image as a `data:` URL."""

    url: str
    choice: int = 0


class LogProbs(Struct, frozen=True):
    """How likely the tokens were, each as OpenAI tells it: token, logprob, bytes, top_logprobs."""

    content: tuple[Mapping[str, Any], ...]
    choice: int = 0


class Finished(Struct, frozen=True):
    reason: FinishReason
    choice: int = 0


class UsageReported(Struct, frozen=True):
    usage: Usage


Saying = (
    Text | Reasoning | ReasoningSealed | Refusal | ToolCallStarted | ToolCallArguments | Cited | Pictured | LogProbs
)
"""What is said within a choice."""

Event = Started | Saying | Finished | UsageReported
