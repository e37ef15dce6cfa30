"""How each API lists its models: on how many pages, and in which words. Pure; others do the asking.

Left out are models that by the list's own word can neither chat nor embed. Most lists say nothing of the kind, and
nothing is guessed from a name.

https://platform.openai.com/docs/api-reference/models/list
https://docs.mistral.ai/api/#tag/models
https://docs.claude.com/en/api/models-list
https://ai.google.dev/api/models#method:-models.list
https://docs.cohere.com/reference/list-models
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from gateway.core.call import Headers
from gateway.core.errors import malformed

LISTS = ("models", "inference_profiles")
"""The operations of the table of vendors that list something callable. Most vendors have the first alone."""

Query = tuple[tuple[str, str], ...]

NOTHING: Query = ()


class Page(NamedTuple):
    """A part of a list."""

    models: tuple[str, ...]
    more: Query
    """What the next page is asked for with; empty on the last one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The manner of one grammar."""

    models: Callable[[Any], Iterable[Any]]
    """The names on a page, which is what its JSON says."""
    more: Callable[[Any], Query] = lambda page: NOTHING
    """See `Page.more`."""
    query: Query = NOTHING
    """What every page is asked for with. Pages are as long as the API allows: 1000 models."""
    headers: Headers = ()
    """What requests carry besides the provider's own headers."""


def listing(dialect: str) -> Listing:
    """The manner of this dialect: OpenAI's, unless it has one of its own."""
    return LISTINGS.get(dialect, OPENAI)


def page_url(manner: Listing, url: str, more: Query = NOTHING) -> str:
    """The address of one page of the list at a URL: the first, or the one that `Page.more` of another leads to."""
    query = manner.query + more
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url


def read_page(manner: Listing, body: bytes) -> Page:
    """What a page says. Raises UpstreamError for what is no list of models."""
    with malformed("not a list of models"):
        page = orjson.loads(body)
        return Page(tuple(_checked(name) for name in manner.models(page)), manner.more(page))


def _checked(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError("a model without a name")
    return name


def _token(given: str, asked: str) -> Callable[[Any], Query]:
    """Pages that name the next one in the field `given`, which is asked for as `asked`."""
    return lambda page: ((asked, page[given]),) if page.get(given) else NOTHING


# OpenAI, and who follows it.


def _openai_models(page: Any) -> Iterator[Any]:
    """`{"data": [{"id"}]}`; Together sends the bare list, and Ollama `null` for an empty one."""
    entries = page if isinstance(page, list) else page["data"]
    return (entry["id"] for entry in entries or () if not _does_something_else(entry.get("capabilities")))


def _does_something_else(capabilities: Any) -> bool:
    """Mistral says what each model can do. Of those that embed it says nothing, so they can do none of it."""
    if not isinstance(capabilities, dict) or "completion_chat" not in capabilities:
        return False
    return not capabilities["completion_chat"] and any(capabilities.values())


# Anthropic.


def _anthropic_more(page: Any) -> Query:
    return (("after_id", page["last_id"]),) if page.get("has_more") else NOTHING


# Gemini.

GEMINI_METHODS = frozenset({"generateContent", "embedContent"})


def _gemini_models(page: Any) -> Iterator[Any]:
    """Names are resource names: `models/gemini-2.5-pro`. A page without any model is `{}`, as protobuf has it."""
    for model in page.get("models", ()):
        if not GEMINI_METHODS.isdisjoint(model.get("supportedGenerationMethods", GEMINI_METHODS)):
            yield model["name"].removeprefix("models/")


# Cohere.

COHERE_ENDPOINTS = frozenset({"chat", "embed"})


def _cohere_models(page: Any) -> Iterator[Any]:
    for model in page["models"]:
        if not COHERE_ENDPOINTS.isdisjoint(model.get("endpoints") or COHERE_ENDPOINTS):
            yield model["name"]


# Bedrock.

BEDROCK_OUTPUTS = frozenset({"TEXT", "EMBEDDING"})


def _bedrock_models(page: Any) -> Iterator[Any]:
    """Foundation models that can be called by their own name, or inference profiles, which stand for the others."""
    if "inferenceProfileSummaries" in page:
        yield from (profile["inferenceProfileId"] for profile in page["inferenceProfileSummaries"])
        return
    for model in page["modelSummaries"]:
        by_name = "ON_DEMAND" in model.get("inferenceTypesSupported", ("ON_DEMAND",))
        if by_name and not BEDROCK_OUTPUTS.isdisjoint(model.get("outputModalities", BEDROCK_OUTPUTS)):
            yield model["modelId"]


OPENAI = Listing(_openai_models)

LISTINGS: dict[str, Listing] = {
    "openai_chat": OPENAI,
    "mistral": OPENAI,
    "anthropic": Listing(
        _openai_models, _anthropic_more, (("limit", "1000"),), headers=((b"anthropic-version", b"2023-06-01"),)
    ),
    "gemini": Listing(_gemini_models, _token("nextPageToken", "pageToken"), (("pageSize", "1000"),)),
    "cohere": Listing(_cohere_models, _token("next_page_token", "page_token"), (("page_size", "1000"),)),
    "bedrock": Listing(_bedrock_models, _token("nextToken", "nextToken")),
}
"""By the name of the dialect."""
