"""How much a call is likely to use, and how much one has used whose provider did not say. Pure.

Admission reserves what `Estimates.ahead` expects; a call that was cut is charged what `Estimates.cut` finds, and
marked as estimated wherever that is shown. Both learn from every usage that a provider reports.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

from msgspec.structs import replace

from gateway.core.call import Call, Json, Target
from gateway.core.events import Usage
from gateway.policy.cost import MOST_TOKENS, bounded
from gateway.policy.learnt import Line, Recent

BYTES_PER_TOKEN = 4
"""English prose runs at about four bytes a token (OpenAI, "What are tokens and how to count them?")."""

ATTACHMENT = 500
"""Tokens of an image, a recording or a document, whose bytes say nothing: the mean of those in 230 recorded calls was
494. Of a picture of 1024 x 1024 OpenAI makes 765, Anthropic 1,400 and Gemini 258."""

UNKNOWN_OUTPUT = 1024
"""Tokens of an answer that the client does not bound, from a model of which too little is known."""

ENOUGH = 20
"""Answers of a model from which the length of the next one can be told."""

WELL_KNOWN = 100
"""Answers of a target after which only a sample of them is learnt from."""

SAMPLED = 16
"""One in so many."""

USUAL = 0.95
"""Of the answers, the share that is no longer than what is reserved for one."""

MOST_OUTPUT = 1_000_000
"""Tokens of an answer that is bounded by the client alone. No model puts out so many."""

MOST_CHOICES = 128
"""Answers to one question. OpenAI's own limit: https://platform.openai.com/docs/api-reference/chat/create."""

MOST_TARGETS = 1024
"""Targets that are known at once. A pattern has as many as its provider has models."""


NOTHING = Usage()


class Habits(NamedTuple):
    """What is known of one target."""

    prompts: Line
    """Tokens by bytes of the request."""
    answers: Line
    """Tokens by characters that were carried to the client."""
    lengths: Recent
    """Tokens of one choice."""


class Estimates:
    """What has been learnt of each target, and what follows from it for the next call."""

    def __init__(self) -> None:
        self._habits: OrderedDict[tuple[str, str], Habits] = OrderedDict()
        self._turn = 0

    def ahead(self, call: Call, target: Target) -> Usage:
        """What to reserve: the prompt as it is likely to count, and the answer as long as it may become."""
        known = self._known(target)
        prompt = _prompt(call, known)
        if call.endpoint == "embeddings":
            return Usage(prompt)
        longest = target.context or MOST_OUTPUT
        each = _bound(call.body, target) or _usual(known)
        return Usage(prompt, min(each, longest) * _choices(call.body))

    def cut(self, call: Call, target: Target, carried: int, told: Usage = NOTHING) -> Usage:
        """What a call has used that ended before its usage was told, after so many characters of output.

        `told` is what some providers say on the way: of the prompt it is all, of the answer it may be the beginning.
        """
        known = self._known(target)
        answer = max(known.answers.at(carried), told.output)
        return bounded(replace(told, input=told.input or _prompt(call, known), output=answer))

    def learn(self, call: Call, target: Target, usage: Usage, carried: int = 0) -> None:
        """A provider has said what a complete call used. `carried` are the characters of its output.

        Only those of streams are learnt of: an answer that comes whole is never cut, and its frame would be counted in.
        Once a target is well known, most calls have nothing new to tell, and one in so many is enough.
        """
        self._turn = (self._turn + 1) % SAMPLED
        if self._turn and len(self._known(target).lengths) >= WELL_KNOWN:
            return
        usage, (size, attachments) = bounded(usage), weigh(call)
        habits = self._of(target)
        if usage.input and not attachments:
            habits.prompts.learn(size, usage.input)
        if call.stream and carried > 0:
            habits.answers.learn(min(carried, MOST_TOKENS), usage.output)
        if usage.output:
            habits.lengths.learn(math.ceil(usage.output / _choices(call.body)))

    def __len__(self) -> int:
        return len(self._habits)

    def _of(self, target: Target) -> Habits:
        """Makes room by forgetting the target that was learnt of the longest ago."""
        name = (target.provider, target.model)
        if name not in self._habits:
            self._habits[name] = Habits(Line(1 / BYTES_PER_TOKEN), Line(1 / BYTES_PER_TOKEN), Recent())
            if len(self._habits) > MOST_TARGETS:
                self._habits.popitem(last=False)
        self._habits.move_to_end(name)
        return self._habits[name]

    def _known(self, target: Target) -> Habits:
        return self._habits.get((target.provider, target.model), _UNKNOWN)


_UNKNOWN = Habits(Line(1 / BYTES_PER_TOKEN), Line(1 / BYTES_PER_TOKEN), Recent())
"""Of this nothing is ever learnt."""


def weigh(call: Call) -> tuple[int, int]:
    """The bytes of a request that are words, and how many attachments it has besides."""
    size, attachments = call.size, 0
    messages = call.body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(content := message.get("content"), list):
            for part in content:
                if isinstance(part, dict) and _is_attachment(part):
                    size -= _length(part)
                    attachments += 1
    return size if size > 0 else 1, attachments


def _prompt(call: Call, known: Habits) -> int:
    size, attachments = weigh(call)
    return min(known.prompts.at(size) + ATTACHMENT * attachments, MOST_TOKENS)


def _usual(known: Habits) -> int:
    return known.lengths.quantile(USUAL) if len(known.lengths) >= ENOUGH else UNKNOWN_OUTPUT


_SPEECH = frozenset({"text", "refusal", "thinking", "reasoning", "tool_result", "tool_use"})
"""Types of a part that is words."""


def _is_attachment(part: Json) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and kind not in _SPEECH


def _length(part: Json) -> int:
    """Of its values: `{"image_url": {"url": "data:..."}}`, `{"file": {"file_data": "..."}}`."""
    inner = (value.values() if isinstance(value, dict) else (value,) for value in part.values())
    return sum(len(value) for values in inner for value in values if isinstance(value, str))


_BOUNDS = ("max_completion_tokens", "max_tokens")
"""Fields of the request that bound each choice; the first counts."""


def _bound(body: Json, target: Target) -> int:
    """What the client allows, or else the configuration; 0 for any length."""
    for asked in (body, target.defaults):
        for field in _BOUNDS:
            if field in asked and (found := _count(asked[field], MOST_OUTPUT)):
                return found
    return 0


def _choices(body: Json) -> int:
    return (_count(body["n"], MOST_CHOICES) or 1) if "n" in body else 1


def _count(value: Any, most: int) -> int:
    """A number that a client sent, between 1 and `most`; 0 for what is none. A fraction counts as the next whole."""
    if type(value) not in (int, float) or not value > 0:  # a boolean is neither
        return 0
    return most if value >= most else math.ceil(value)
