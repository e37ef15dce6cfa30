"""Name to dialect. A dialect is imported when it is first asked for, so that one nobody uses costs nothing.

Each function returns a module as a `Dialect` or an `EmbeddingsDialect`, which is where mypy checks that it is one.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.dialects.base import Dialect, EmbeddingsDialect


def _anthropic() -> Dialect:
    from gateway.dialects import anthropic

    return anthropic


def _openai_chat() -> Dialect:
    from gateway.dialects import openai_chat

    return openai_chat


def _bedrock() -> Dialect:
    from gateway.dialects import bedrock

    return bedrock


def _cohere() -> Dialect:
    from gateway.dialects import cohere

    return cohere


def _mistral() -> Dialect:
    from gateway.dialects import mistral

    return mistral


def _gemini() -> Dialect:
    from gateway.dialects import gemini

    return gemini


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "anthropic": _anthropic,
    "openai_chat": _openai_chat,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "mistral": _mistral,
    "gemini": _gemini,
}


def load(name: str) -> Dialect:
    """The dialect of this name. Raises KeyError for one that is not there."""
    return DIALECTS[name]()


def _openai_embeddings() -> EmbeddingsDialect:
    from gateway.dialects import openai_embeddings

    return openai_embeddings


def _mistral_embeddings() -> EmbeddingsDialect:
    from gateway.dialects import mistral_embeddings

    return mistral_embeddings


def _cohere_embeddings() -> EmbeddingsDialect:
    from gateway.dialects import cohere_embeddings

    return cohere_embeddings


def _gemini_embeddings() -> EmbeddingsDialect:
    from gateway.dialects import gemini_embeddings

    return gemini_embeddings


def _bedrock_embeddings() -> EmbeddingsDialect:
    from gateway.dialects import bedrock_embeddings

    return bedrock_embeddings


EMBEDDINGS: dict[str, Callable[[], EmbeddingsDialect]] = {
    "openai_chat": _openai_embeddings,
    "mistral": _mistral_embeddings,
    "cohere": _cohere_embeddings,
    "gemini": _gemini_embeddings,
    "bedrock": _bedrock_embeddings,
}
"""By the name of the vendor's dialect."""


def embeddings(name: str) -> EmbeddingsDialect | None:
    """How vendors of this dialect are asked for embeddings; None where they have none."""
    return EMBEDDINGS[name]() if name in EMBEDDINGS else None
