"""What the models behind Bedrock's Converse take, and what that makes of a request's reasoning and sampling. Pure.

One grammar, many makers: what a model cannot take it refuses with a ValidationException. Facts about models are rows,
found by the model's id. The id may stand behind a region (`us.`, `global.`) or within an ARN; what an application's
inference profile or an imported model is cannot be seen, so it is taken to be able.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from gateway.core.call import Json
from gateway.dialects.claude_models import sampling as claude_sampling
from gateway.dialects.claude_models import thinking, traits_of
from gateway.dialects.hub import Range, max_tokens, within


class Dials(NamedTuple):
    """What a request says of length, sampling and reasoning."""

    inference: Json
    """For `inferenceConfig`."""
    additional: Json
    """For `additionalModelRequestFields`: the model's own fields."""
    effort: str | None
    """For `outputConfig.effort`."""
    lost: tuple[str, ...]
    """Fields of the client's that the model does not take."""


class Context(NamedTuple):
    """What bears on reasoning, beside the fields that ask for it."""

    model: str
    forced: bool
    """Whether a tool must be called."""
    unsealed: bool
    """Whether the turn that the answer would go on with called tools and has lost its thoughts."""


Tuning = Callable[[Json, Context], Dials]
"""From the wishes of a request body to a model's dials."""


class Family(NamedTuple):
    """What models of one kind take. The most that any does, where a row does not say less."""

    tuning: Tuning
    schema: Literal["native", "tool", "words"] = "native"
    """How an answer is held to a JSON schema: by `outputConfig.textFormat`, by a tool that must be called, by words."""
    choices: frozenset[str] = frozenset({"any", "tool"})
    """Which `toolChoice` it takes beside `auto`."""
    caches: frozenset[str] = frozenset({"system", "messages", "tools"})
    """Where it takes cache points."""
    thoughts: bool = True
    """Whether it takes its reasoning back."""
    stops: bool = True
    """Whether it takes `stopSequences`."""
    instructions: bool = True
    """Whether it takes `system`."""


# Dials.


RANGES = {"temperature": Range("temperature", 0, 1), "top_p": Range("topP", 0, 1)}


def _plain(body: Json, context: Context, reasoning: Json | None = None, quiet: bool = False) -> Dials:
    """Length and sampling, within the bounds of Converse; `reasoning` in the model's own field, if it has one.

    `quiet`: while it reasons so, the model takes no sampling.
    """
    sampling, moved = within(body, RANGES)
    lost = tuple(name for name in RANGES if body.get(name) is not None) if quiet else moved
    length = {"maxTokens": bound} if (bound := max_tokens(body)) is not None else {}
    if reasoning is None and body.get("reasoning_effort") is not None:
        lost += ("reasoning_effort",)
    return Dials({**length, **({} if quiet else sampling)}, reasoning or {}, None, lost)


def _claude(body: Json, context: Context) -> Dials:
    """Claude takes Anthropic's own fields beside Converse's. It cannot think where it must call a tool."""
    lost: tuple[str, ...] = ()
    if context.forced and body.get("reasoning_effort") not in (None, "none"):
        body, lost = {**body, "reasoning_effort": None}, ("reasoning_effort",)
    traits, bound = traits_of(context.model), max_tokens(body)
    thought = thinking(body, traits, bound, context.unsealed)
    samples, refused = claude_sampling(body, traits, thought.active)
    inference = {_CONVERSES_NAME[name]: value for name, value in samples.items() if name in _CONVERSES_NAME}
    if bound is not None:
        inference["maxTokens"] = thought.bound
    additional = {"thinking": thought.config, "top_k": samples.get("top_k")}
    given = {name: value for name, value in additional.items() if value is not None}
    return Dials(inference, given, thought.effort, lost + thought.dropped + refused)


_CONVERSES_NAME = {"temperature": "temperature", "top_p": "topP"}

_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""OpenAI's words for an effort, where a model knows three."""


def _nova_2(body: Json, context: Context) -> Dials:
    """At its highest effort it refuses a bound and sampling; a bound is money, so the effort yields to it.

    https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
    """
    word = body.get("reasoning_effort")
    if word == "none":
        return _plain(body, context, {"reasoningConfig": {"type": "disabled"}})
    level = _LEVELS.get(word or "")
    if level is None:
        return _plain(body, context)
    if level == "high" and max_tokens(body) is not None:
        level = "medium"
    reasoning = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    return _plain(body, context, reasoning, quiet=level == "high")


def _named_level(field: str) -> Tuning:
    """A model that takes an effort of three levels, in a field of its own."""

    def tuned(body: Json, context: Context) -> Dials:
        level = _LEVELS.get(body.get("reasoning_effort") or "")
        return _plain(body, context, {field: level} if level else None)

    return tuned


# Rows.

ABLE = Family(_plain)
OLD_CLAUDE = Family(_claude, "tool", caches=frozenset(), thoughts=False)
NOVA = Family(_plain, "tool", caches=frozenset({"system", "messages"}), thoughts=False)
OPEN_WEIGHTS = Family(_plain, caches=frozenset(), thoughts=False)
PLAIN = Family(_plain, "words", choices=frozenset(), caches=frozenset(), thoughts=False)

FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"anthropic\.claude-(v|instant)", PLAIN),
    (r"anthropic\.claude-(3-7|[a-z]+-4-(1-)?20)", Family(_claude, "tool")),  # up to 4.1; a date follows the number
    (r"anthropic\.claude-3", OLD_CLAUDE),
    (r"anthropic\.claude", Family(_claude)),
    (r"amazon\.nova-2", NOVA._replace(tuning=_nova_2, thoughts=True)),
    (r"amazon\.nova", NOVA),
    # Recorded: gpt-oss with `reasoning_effort`, Qwen with `reasoning_config`, each thinking as it was told.
    (r"openai\.gpt-oss", OPEN_WEIGHTS._replace(tuning=_named_level("reasoning_effort"), stops=False)),
    (r"qwen\.", OPEN_WEIGHTS._replace(tuning=_named_level("reasoning_config"), stops=False)),
    # https://github.com/langchain-ai/langchain-aws/pull/1261
    (r"deepseek\.v", OPEN_WEIGHTS._replace(tuning=_named_level("reasoning_effort"), choices=frozenset({"any"}))),
    (r"google\.|minimax\.|moonshot(ai)?\.|nvidia\.|zai\.", OPEN_WEIGHTS),
    (r"mistral\.(devstral|magistral|ministral|mistral-large-3|voxtral)", OPEN_WEIGHTS),
    (r"mistral\.mistral-large", PLAIN._replace(schema="tool", choices=frozenset({"any"}))),
    (r"amazon\.titan|mistral\.mi[sx]tral-\dx?\d?b", PLAIN._replace(instructions=False)),
    (r"(ai21|cohere|deepseek|meta|mistral|writer)\.", PLAIN),
)
"""By a part of the id. The first that fits counts; a model that is in none is taken to be able."""

_COMPILED = tuple((re.compile(rf"(?:^|[./])(?:{pattern})"), family) for pattern, family in FAMILIES)


@lru_cache(maxsize=512)
def family_of(model: str) -> Family:
    """The row of a model, by its id, the id of an inference profile, or the ARN of either."""
    family = next((family for pattern, family in _COMPILED if pattern.search(model)), ABLE)
    if family.tuning is _claude and not traits_of(model).forced_tools:
        return family._replace(choices=frozenset())
    return family
