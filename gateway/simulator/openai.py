"""OpenAI's own API over HTTP: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from gateway.simulator.http import UNIQUE
from gateway.simulator.openai_chat import DONE, answer, frames, obfuscated, stream
from gateway.simulator.openai_family import Flavour, grammar
from gateway.simulator.refusals import check

__all__ = ["DONE", "GRAMMAR", "MODELS", "answer", "check", "frames", "stream"]

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1")

GRAMMAR = grammar(
    Flavour(
        chunks=obfuscated,
        headers=(
            (b"openai-processing-ms", b"7"),
            (b"openai-version", b"2020-10-01"),
            (b"x-request-id", b"req_" + UNIQUE.encode()),
        ),
        limits=(
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-limit-tokens", b"2000000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
            (b"x-ratelimit-remaining-tokens", b"1999985"),
            (b"x-ratelimit-reset-requests", b"6ms"),
            (b"x-ratelimit-reset-tokens", b"0s"),
        ),
        indented=True,
    ),
    MODELS,
)
