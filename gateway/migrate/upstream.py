"""The name of a model behind LiteLLM's prefix, as its maker knows it. Routes and regions that are part of it come out.

What cannot be called at all is a `NotServed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_REGION = re.compile(r"(us|eu|ap|ca|sa|me|af|il|us-gov)-[a-z]+-\d")

AWS_ROUTES = ("converse", "converse_like", "invoke")
"""Ways to call a model on Bedrock. There is one here, Converse."""
AWS_OTHER = ("agent", "agentcore", "async_invoke", "openai", "deepseek_r1", "llama", "qwen3", "qwen2", "moonshot")


class NotServed(Exception):
    """The message says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Name:
    """What is called."""

    model: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of the provider, in our spelling, where the name says something of it."""
    changes: tuple[str, ...] = ()
    """What is different here."""


def upstream(prefix: str, model: str) -> Name:
    """What a model is called upstream. Raises NotServed."""
    if not model:
        raise NotServed("it names no model")
    return READERS.get(prefix, Name)(model)


def _openai(model: str) -> Name:
    for route in ("responses/", "chat/"):
        if model.startswith(route):
            return Name(model.removeprefix(route), changes=("is called by /chat/completions",))
    return Name(model)


def _azure(model: str) -> Name:
    for route in ("o_series/", "gpt5_series/"):  # which only tell LiteLLM what a deployment is
        model = model.removeprefix(route)
    return _openai(model)


def _bedrock(model: str) -> Name:
    changes: tuple[str, ...] = ()
    fields = {}
    first, slash, rest = model.partition("/")
    if slash and first in AWS_OTHER:
        raise NotServed(f"{first}/ of Bedrock is not spoken; only models that Converse takes are")
    if slash and first in AWS_ROUTES:
        changes = ("is called by Converse",) if first != "converse" else ()
        model = rest
        first, slash, rest = model.partition("/")
    if slash and _REGION.fullmatch(first):
        fields["region"], model = first, rest
    return Name(model, fields, changes)


def _fireworks(model: str) -> Name:
    return Name(model if model.startswith("accounts/") or "*" in model else f"accounts/fireworks/models/{model}")


def _huggingface(model: str) -> Name:
    """`together/deepseek-ai/DeepSeek-R1` is `deepseek-ai/DeepSeek-R1:together` to Hugging Face's router."""
    host, _, rest = model.partition("/")
    return Name(f"{rest}:{host}") if "/" in rest else Name(model)


def _vertex(model: str) -> Name:
    name = model.removeprefix("gemini/")
    if not re.match(r"gemini-|gemma-|text-embedding-|textembedding-|\*$", name):
        raise NotServed(
            "Vertex AI serves it in a grammar that is not spoken; take it from its own maker, or from Bedrock"
        )
    return Name(name)


READERS: Mapping[str, Callable[[str], Name]] = {
    "openai": _openai,
    "azure": _azure,
    "bedrock": _bedrock,
    "fireworks_ai": _fireworks,
    "huggingface": _huggingface,
    "vertex_ai": _vertex,
}
