"""What a model says, in order, whoever said it. Dialects produce these; surfaces spell them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Usage(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Started:
    """The answer opens. `created` is in seconds since 1970, 0 where the upstream named no time."""

    id: str
    model: str
    created: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str
    signature: str | None = None
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """A tool is called. `index` counts the calls of one choice from 0."""

    index: int
    id: str
    name: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """The next piece of a tool call's arguments, which together are one JSON text."""

    index: int
    json: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    reason: FinishReason
    choice: int = 0


@dataclass(frozen=True, slots=True)
class UsageReported:
    usage: Usage


Event = Started | Text | Reasoning | Refusal | ToolCallStarted | ToolCallArguments | Finished | UsageReported
