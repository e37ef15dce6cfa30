"""Two public tables of models, read into plain values: genai-prices, and one file of LiteLLM's.

Prices and windows are genai-prices'. LiteLLM's file says what a model cannot do, and its windows are compared.

https://github.com/pydantic/genai-prices (MIT)
https://github.com/BerriAI/litellm (MIT, but for its folder `enterprise`)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from importlib import import_module
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from gateway.core.call import Json, Need

LITELLM_TABLE = "litellm/model_prices_and_context_window_backup.json"


class Source(NamedTuple):
    """What the two tables call a vendor."""

    genai: str
    litellm: tuple[str, ...] = ()


VENDORS: Mapping[str, Source] = {
    "anthropic": Source("anthropic", ("anthropic",)),
    "bedrock": Source("aws", ("bedrock", "bedrock_converse")),
    "cerebras": Source("cerebras", ("cerebras",)),
    "cohere": Source("cohere", ("cohere", "cohere_chat")),
    "deepseek": Source("deepseek", ("deepseek",)),
    "fireworks": Source("fireworks", ("fireworks_ai",)),
    "gemini": Source("google", ("gemini",)),
    "groq": Source("groq", ("groq",)),
    "mistral": Source("mistral", ("mistral",)),
    "openai": Source("openai", ("openai",)),
    "openrouter": Source("openrouter"),
    "perplexity": Source("perplexity", ("perplexity",)),
    "together": Source("together", ("together_ai",)),
    "xai": Source("x-ai", ("xai",)),
}
"""By the names of `vendors.yaml`. Azure is not here: its deployments may be called anything."""


class Listed(NamedTuple):
    """A model as genai-prices lists it."""

    id: str
    names: tuple[str, ...]
    context: int | None
    prices: Json
    """US dollars per million tokens by kind, and under `above` by the size of the prompt."""
    ahead: tuple[tuple[date, Json], ...]
    """Prices that are announced for a day to come."""


class Told(NamedTuple):
    """A model as LiteLLM's file has it."""

    name: str
    context: int | None
    dearer_from: int | None
    """Tokens from which a prompt has other prices."""
    can: Mapping[Need, bool]
    """What it is said to do, or said not to do."""
    input: float | None
    """US dollars per million tokens."""


def notice() -> list[str]:
    """Where the facts are from, under which licence."""
    return [
        f"genai-prices {version('genai-prices')}, MIT, Copyright (c) Pydantic Services Inc.",
        f"litellm {version('litellm')}, MIT, Copyright (c) 2023 Berri AI",
    ]


# genai-prices. It is no dependency of the gateway, so nothing here knows its types.


def genai(provider: str, today: date) -> list[Listed]:
    """The models of one provider, with the prices of a day."""
    providers = import_module("genai_prices.data").providers
    models = next(each.models for each in providers if each.id == provider)
    return [listed(model, today) for model in models]


def listed(model: Any, today: date) -> Listed:
    """One of its models, with the prices of a day and those that are announced."""
    current, ahead = _of_today(model.prices, today)
    return Listed(
        model.id,
        tuple(_literals(model.match)),
        model.context_window,
        _prices(current),
        tuple((start, _prices(prices)) for start, prices in ahead),
    )


def _literals(match: Any) -> Iterator[str]:
    """The names that a rule looks for, whole or at a place. Regular expressions say nothing that names do not."""
    for kind, value in vars(match).items():
        if kind in ("equals", "starts_with", "ends_with", "contains"):
            yield value
        elif kind in ("or_", "and_"):
            for inner in value:
                yield from _literals(inner)


def _of_today(prices: Any, today: date) -> tuple[Any, list[tuple[date, Any]]]:
    """The last prices that hold, and those to come. Of prices by the hour, the highest: no bill is then too low."""
    if not isinstance(prices, list):
        return prices, []
    starts = [(getattr(each.constraint, "start_date", date.min), each) for each in prices]
    by_hour = [each.prices for each in prices if hasattr(each.constraint, "start_time")]
    holding = [each.prices for start, each in starts if start <= today and not hasattr(each.constraint, "start_time")]
    dearest = max([holding[-1], *by_hour], key=lambda each: float(_base(each.input_mtok or 0)))
    return dearest, [(start, each.prices) for start, each in starts if start > today]


_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}

_APART = frozenset(
    {"requests_kcount", "input_text_messages_kcount", "input_mchars", "input_audio_hours", "audio_hours"}
)
"""Charges that the number of tokens does not tell: with one of these no price is better than one that is too low."""


def _prices(prices: Any) -> Json:
    told = {name: value for name, value in vars(prices).items() if value is not None}
    if _APART & told.keys():
        return {}
    kinds = {kind: told[name] for kind, name in _KINDS.items() if name in told}
    starts = sorted({tier.start for value in kinds.values() for tier in getattr(value, "tiers", ())})
    flat: Json = {kind: _number(_base(value)) for kind, value in kinds.items()}
    above = {str(start): {kind: _number(_from(value, start)) for kind, value in kinds.items()} for start in starts}
    return {**flat, "above": above} if above else flat


def _base(price: Any) -> Any:
    return getattr(price, "base", price)


def _from(price: Any, tokens: int) -> Any:
    """Tiers are sorted by where they start."""
    return next((tier.price for tier in reversed(getattr(price, "tiers", ())) if tier.start <= tokens), _base(price))


def _number(price: Any) -> int | float:
    return int(price) if price == int(price) else float(price)


# LiteLLM's file.

_ABILITIES: Mapping[Need, str] = {
    "images": "supports_vision",
    "tools": "supports_function_calling",
    "schema": "supports_response_schema",
}
_TALKING = ("chat", "responses", "completion")


def litellm() -> Mapping[str, Json]:
    """The file of the installed package, whose code is not run."""
    file = Path(str(distribution("litellm").locate_file(LITELLM_TABLE)))
    table: Mapping[str, Json] = orjson.loads(file.read_bytes())
    return table


def told(table: Mapping[str, Json], providers: tuple[str, ...]) -> list[Told]:
    """The models of some of its providers that chat."""
    return [
        _told(name, entry)
        for name, entry in table.items()
        if entry.get("litellm_provider") in providers and entry.get("mode") in _TALKING
    ]


_DEARER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def _told(name: str, entry: Json) -> Told:
    dearer_from = [int(found[1]) * 1000 for field in entry if (found := _DEARER.fullmatch(field))]
    cost, window = entry.get("input_cost_per_token"), entry.get("max_input_tokens")
    return Told(
        name=name.removeprefix(entry["litellm_provider"] + "/"),
        context=window if isinstance(window, int) else None,
        dearer_from=max(dearer_from, default=None),
        can={need: entry[field] for need, field in _ABILITIES.items() if field in entry},
        input=cost * 1e6 if cost else None,
    )
