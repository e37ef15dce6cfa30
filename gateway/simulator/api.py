"""The provider types that can be simulated, and what each replies to a request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from gateway.config.vendor_table import VENDORS
from gateway.simulator import (
    anthropic,
    azure,
    bedrock,
    cohere,
    gemini,
    mistral,
    ollama,
    openai,
    openai_compatible,
    vllm,
)
from gateway.simulator.http import Account, Grammar, Reply, Request, refused, respond

CACHED = 16 * 1024
"""Bytes of the longest request whose reply is kept: as a stream it takes some fifty times as much."""

_OWN: Mapping[str, Grammar] = {
    "openai": openai.GRAMMAR,
    "anthropic": anthropic.GRAMMAR,
    "azure": azure.GRAMMAR,
    "bedrock": bedrock.GRAMMAR,
    "cohere": cohere.GRAMMAR,
    "gemini": gemini.GRAMMAR,
    "mistral": mistral.GRAMMAR,
    "ollama": ollama.GRAMMAR,
    "openai_compatible": openai_compatible.GRAMMAR,
    "vllm": vllm.GRAMMAR,
}

GRAMMARS: Mapping[str, Grammar] = {
    **{
        name: openai_compatible.GRAMMAR
        for name, vendor in VENDORS.items()
        if vendor.dialect == "openai_chat" and not vendor.in_process
    },
    **_OWN,
}
"""By type. A vendor whose API is OpenAI's is played by the plain server of that kind."""


def reply(grammar: Grammar, request: Request, account: Account) -> Reply:
    """What an API answers to a request."""
    if away := grammar.turn_away(request, account):
        return refused(away, grammar.headers)
    known = _known if len(request.body) <= CACHED else respond
    return known(grammar, request.method, request.path, request.body, account)


_known = lru_cache(maxsize=64)(respond)
