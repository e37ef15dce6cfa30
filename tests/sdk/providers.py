"""Every type of provider, as the gateway is told of it, and what of OpenAI's API some of them cannot do."""

from __future__ import annotations

from collections.abc import Mapping

PROVIDERS: Mapping[str, str] = {
    "openai": "type: openai, base_url: '{url}', api_key: k",
    "azure": "type: azure, base_url: '{url}', api_key: k, api_version: '2024-10-21'",
    "openai_compatible": "type: openai_compatible, base_url: '{url}'",
    "ollama": "type: ollama, base_url: '{url}'",
    "vllm": "type: vllm, base_url: '{url}'",
    "mistral": "type: mistral, base_url: '{url}', api_key: k",
    "anthropic": "type: anthropic, base_url: '{url}', api_key: k",
    "gemini": "type: gemini, base_url: '{url}', api_key: k",
    "cohere": "type: cohere, base_url: '{url}', api_key: k",
    "bedrock": "type: bedrock, region: us-east-1, endpoint_url: '{url}', access_key_id: AKIAX, secret_access_key: s",
}
"""By type: the fields of a provider, with the address of its simulator still to be filled in."""

_OTHER_WORDS = "it refuses a request in words of its own, and names no parameter"
_ONE_ANSWER = "it gives one answer to a request: `n` is named in `x-gateway-dropped-params`"
_WHOLE_SECONDS = "it tells whole seconds, so that the SDK waits longer"
_FETCHED = "it wants the picture itself, which is not at example.com"
_BOUNDED = "its answers are bounded, and a megabyte is more than the bound of any model"
_THROTTLED = "its throttling counts as overload: tried again there first, and told as 503"

BEYOND: Mapping[tuple[str, str], str] = {
    **{
        (type, "a providers bad request is passed on"): _OTHER_WORDS
        for type in ("ollama", "mistral", "anthropic", "gemini", "cohere", "bedrock")
    },
    **{(type, "two choices are told apart"): _ONE_ANSWER for type in ("anthropic", "cohere", "bedrock")},
    **{
        (type, f"a rate limit {what}"): why
        for why, types in ((_WHOLE_SECONDS, ("mistral", "anthropic", "cohere")), (_THROTTLED, ("bedrock",)))
        for type in types
        for what in ("says when to come back", "is waited out by the sdk")
    },
    **{(type, "images reach the model"): _FETCHED for type in ("gemini", "bedrock")},
    ("anthropic", "a message of a megabyte survives"): _BOUNDED,
}
"""By type and scenario: why it cannot be as with OpenAI."""


def provider(type: str, url: str) -> str:
    """A provider of this type at an address, as YAML."""
    return "{" + PROVIDERS[type].format(url=url) + "}"
