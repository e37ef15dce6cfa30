"""What the models behind the Messages API take, and what that makes of a request's thinking and sampling. Pure.

Facts about models are rows. A generation is read out of the model's name, which also works for the names that Bedrock,
Vertex and OpenRouter give the same models; a newer one than any row is taken to be like the newest.

https://platform.claude.com/docs/en/about-claude/models/overview
https://platform.claude.com/docs/en/build-with-claude/extended-thinking
https://platform.claude.com/docs/en/build-with-claude/effort
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from gateway.core.call import Json
from gateway.core.errors import InvalidRequest


class Traits(NamedTuple):
    """What one model takes. The most that any model does, where a row does not say less."""

    output: int
    """The bound on the output, in tokens, for a request that names none. The API requires one."""
    budget: bool
    """Whether thinking is asked for with a number of tokens."""
    efforts: Mapping[str, str]
    """OpenAI's words for an effort to the model's own, where thinking is asked for with an effort."""
    sampling: Literal["none", "one", "both"] = "both"
    """How many of `temperature` and `top_p` it takes in one request."""
    thinks_unasked: bool = False
    stops_thinking: bool = True
    """Whether thinking can be turned off."""
    forced_tools: bool = True
    """Whether the use of a tool can be demanded."""
    structured: bool = False
    """Whether an answer can be held to a JSON schema (`output_config.format`)."""


_UP_TO_MAX = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}
_UP_TO_XHIGH = {**_UP_TO_MAX, "xhigh": "xhigh"}

# The API's own list of models (recorded in April and August 2026) shows output limits, efforts, kinds of thinking and
# structured outputs. It allows up to 128000 tokens; 32000 is what all since 3.7 allow. The rest is from the guides to
# each model's changes: 4.7 refuses sampling, 5.0 thinks unasked, 5.1 cannot be forced to use a tool.
_NEWEST = Traits(32000, False, _UP_TO_XHIGH, "none", thinks_unasked=True, stops_thinking=False, forced_tools=False,
                 structured=True)  # fmt: skip
GENERATIONS: tuple[tuple[tuple[int, int], Traits], ...] = (
    ((5, 1), _NEWEST),
    ((5, 0), _NEWEST._replace(stops_thinking=True, forced_tools=True)),
    ((4, 7), Traits(32000, False, _UP_TO_XHIGH, "none", structured=True)),
    ((4, 6), Traits(32000, False, _UP_TO_MAX, "one", structured=True)),
    ((4, 1), Traits(32000, True, {}, "one", structured=True)),
    ((3, 7), Traits(32000, True, {})),
    ((3, 5), Traits(8192, False, {})),
    ((0, 0), Traits(4096, False, {})),
)
"""Newest first: the first that is not newer than a model is its row."""

OTHERS = Traits(8192, True, {})
"""Other makers' models on servers that speak this grammar (DeepSeek, Moonshot, Ollama): its parts of old."""

_GENERATION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_ALWAYS_THINKING = re.compile(r"claude-(fable|mythos)")


@lru_cache(maxsize=512)
def traits_of(model: str) -> Traits:
    """The row of a model, by any of its names."""
    if "claude" not in model:
        return OTHERS
    named = _GENERATION.search(model)
    if named is None:
        return _NEWEST
    generation = int(named[1]), int(named[2] or 0)
    traits = next(traits for oldest, traits in GENERATIONS if oldest <= generation)
    return traits._replace(stops_thinking=False) if _ALWAYS_THINKING.search(model) else traits


# Thinking.

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 12288, "xhigh": 16000, "max": 16000}
"""Tokens to think with, by OpenAI's words for an effort. Never more than half of the bound, so that an answer fits."""

LEAST_BUDGET = 1024
"""The API refuses a smaller one."""


class Thinking(NamedTuple):
    """What a request says of thinking."""

    config: Json | None
    """The `thinking` field; None where it is left out."""
    effort: str | None
    """For `output_config.effort`."""
    bound: int
    """`max_tokens`, which counts the tokens of thinking too."""
    active: bool
    """Whether the model may think."""
    dropped: tuple[str, ...]


def thinking(body: Json, traits: Traits, bound: int | None, unsealed: bool) -> Thinking:
    """The client's own `thinking`, or what its `reasoning_effort` makes of it.

    `unsealed`: the turn that the answer would go on with has lost its thoughts, so the API would refuse to think on.
    """
    own, word = object_in(body, "thinking"), body.get("reasoning_effort")
    if own is None:
        config, effort, dropped = _reasoning(word, traits, bound)
    else:
        config, effort = own, traits.efforts.get(word or "")
        dropped = ("reasoning_effort",) if word and effort is None else ()
    if unsealed and is_budgeted(config):
        dropped = (*dropped, "reasoning_effort" if own is None else "thinking")
        config = None
    active = traits.thinks_unasked if config is None else config.get("type") in ("enabled", "adaptive")
    return Thinking(config, effort, _above(config, bound or traits.output), active, dropped)


def object_in(body: Json, name: str) -> Json | None:
    """A field that OpenAI does not have, so nobody has looked at it. Raises InvalidRequest for all but an object."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` must be an object.", param=name)
    return value


def is_budgeted(config: Json | None) -> bool:
    """Thinking of the older kind, which goes with no forced tool and needs the thoughts of the turn it goes on with."""
    return config is not None and config.get("type") == "enabled"


def _reasoning(word: str | None, traits: Traits, bound: int | None) -> tuple[Json | None, str | None, tuple[str, ...]]:
    """The field, the effort, and what is lost."""
    if word is None or (word == "none" and not traits.thinks_unasked):
        return None, None, ()
    if word == "none" and traits.stops_thinking:
        return {"type": "disabled"}, None, ()
    if word == "none":
        return None, "low", ("reasoning_effort",)
    if word in traits.efforts:
        return {"type": "adaptive"}, traits.efforts[word], ()
    budget = min(BUDGETS.get(word, 0), (bound or traits.output) // 2)
    if traits.budget and budget >= LEAST_BUDGET:
        return {"type": "enabled", "budget_tokens": budget}, None, ()
    return None, None, ("reasoning_effort",)


def _above(config: Json | None, bound: int) -> int:
    """A bound that leaves room for the answer beside a budget of the client's own."""
    budget = config.get("budget_tokens") if config else None
    return bound + budget if isinstance(budget, int) and budget >= bound else bound


# Sampling.


def sampling(body: Json, traits: Traits, active: bool) -> tuple[Json, tuple[str, ...]]:
    """`temperature`, `top_p` and `top_k` as far as the model takes them, and the names of those that it does not.

    While it thinks, only a `top_p` close to 1 is allowed. 1 is the default of both, and the highest `temperature`.
    """
    asked = {name: body[name] for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
    taken: Json = {}
    dropped: list[str] = []
    for name, value in asked.items():
        if name != "top_k" and value == 1:
            continue
        if not _takes(traits, name, value, active, taken):
            dropped.append(name)
        else:
            taken[name] = value
    return taken, tuple(dropped)


def _takes(traits: Traits, name: str, value: float, active: bool, taken: Json) -> bool:
    if traits.sampling == "none" or (name == "temperature" and value > 1):
        return False
    if active:
        return name == "top_p" and value >= 0.95
    return not (name == "top_p" and traits.sampling == "one" and "temperature" in taken)
