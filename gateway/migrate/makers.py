"""LiteLLM's provider prefixes, and what they are here.

https://docs.litellm.ai/docs/providers lists the prefixes; where each has its key and its address from if none is
written is in LiteLLM's `get_llm_provider_logic.py` and the pages of the providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.config.vendor_table import VENDORS
from gateway.vendors.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Maker:
    """A prefix."""

    type: str
    """Ours."""
    key: str | None = None
    """The variable that the key is in if none is written."""
    base: str | None = None
    """The address if none is written: in our spelling, so it may be a variable. None: the type's own."""
    ending: str = ""
    """What a `base_url` ends with here that an `api_base` has not there."""
    note: str | None = None
    """What is different here for all its models."""

    @property
    def vendor(self) -> Vendor:
        return VENDORS[self.type]


def _compatible(key: str, base: str) -> Maker:
    return Maker("openai_compatible", key, base)


MAKERS: Mapping[str, Maker] = {
    "openai": Maker("openai", "OPENAI_API_KEY"),
    "azure": Maker("azure", "AZURE_API_KEY", "${AZURE_API_BASE}"),
    "azure_ai": Maker("azure", "AZURE_AI_API_KEY", "${AZURE_AI_API_BASE}", note="is called by /openai/v1"),
    "anthropic": Maker("anthropic", "ANTHROPIC_API_KEY", ending="/v1"),
    "bedrock": Maker("bedrock"),
    "vertex_ai": Maker(
        "gemini",
        "VERTEX_API_KEY",
        note="is called with an API key of Google Cloud, which VERTEX_API_KEY has to hold: tokens of accounts are "
        "not fetched. Whether your project takes such keys, `gateway providers test` says",
    ),
    "gemini": Maker("gemini", "GEMINI_API_KEY", ending="/v1beta"),
    "cohere": Maker("cohere", "COHERE_API_KEY"),
    "mistral": Maker("mistral", "MISTRAL_API_KEY"),
    "codestral": Maker("mistral", "CODESTRAL_API_KEY", "https://codestral.mistral.ai/v1"),
    "ollama": Maker("ollama", base="${OLLAMA_API_BASE:-http://localhost:11434}/v1", ending="/v1"),
    "hosted_vllm": Maker("vllm", base="${HOSTED_VLLM_API_BASE}"),
    "lm_studio": Maker("lmstudio", base="${LM_STUDIO_API_BASE:-http://127.0.0.1:1234/v1}"),
    "groq": Maker("groq", "GROQ_API_KEY"),
    "together_ai": Maker("together", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Maker("fireworks", "FIREWORKS_API_KEY"),
    "deepseek": Maker("deepseek", "DEEPSEEK_API_KEY"),
    "openrouter": Maker("openrouter", "OPENROUTER_API_KEY"),
    "xai": Maker("xai", "XAI_API_KEY"),
    "perplexity": Maker("perplexity", "PERPLEXITYAI_API_KEY"),
    "cerebras": Maker("cerebras", "CEREBRAS_API_KEY"),
    "nvidia_nim": Maker("nvidia", "NVIDIA_NIM_API_KEY"),
    "huggingface": Maker("huggingface", "HUGGINGFACE_API_KEY"),
    "openai_like": Maker("openai_compatible"),
    "custom_openai": Maker("openai_compatible"),
    "litellm_proxy": _compatible("LITELLM_PROXY_API_KEY", "${LITELLM_PROXY_API_BASE}"),
    "databricks": _compatible("DATABRICKS_API_KEY", "${DATABRICKS_API_BASE}"),
    "ai21": _compatible("AI21_API_KEY", "https://api.ai21.com/studio/v1"),
    "anyscale": _compatible("ANYSCALE_API_KEY", "https://api.endpoints.anyscale.com/v1"),
    "dashscope": _compatible("DASHSCOPE_API_KEY", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    "deepinfra": _compatible("DEEPINFRA_API_KEY", "https://api.deepinfra.com/v1/openai"),
    "featherless_ai": _compatible("FEATHERLESS_API_KEY", "https://api.featherless.ai/v1"),
    "friendliai": _compatible("FRIENDLI_TOKEN", "https://api.friendli.ai/serverless/v1"),
    "github": _compatible("GITHUB_API_KEY", "https://models.inference.ai.azure.com"),
    "hyperbolic": _compatible("HYPERBOLIC_API_KEY", "https://api.hyperbolic.xyz/v1"),
    "llamafile": Maker("openai_compatible", base="${LLAMAFILE_API_BASE:-http://127.0.0.1:8080/v1}"),
    "meta_llama": _compatible("LLAMA_API_KEY", "https://api.llama.com/compat/v1"),
    "moonshot": _compatible("MOONSHOT_API_KEY", "https://api.moonshot.ai/v1"),
    "nebius": _compatible("NEBIUS_API_KEY", "https://api.studio.nebius.ai/v1"),
    "novita": _compatible("NOVITA_API_KEY", "https://api.novita.ai/v3/openai"),
    "nscale": _compatible("NSCALE_API_KEY", "https://inference.api.nscale.com/v1"),
    "sambanova": _compatible("SAMBANOVA_API_KEY", "https://api.sambanova.ai/v1"),
    "volcengine": _compatible("VOLCENGINE_API_KEY", "https://ark.cn-beijing.volces.com/api/v3"),
    "xinference": Maker("openai_compatible", base="${XINFERENCE_API_BASE:-http://127.0.0.1:9997/v1}"),
}

ALSO = {"vertex_ai_beta": "vertex_ai", "bedrock_converse": "bedrock", "cohere_chat": "cohere", "ollama_chat": "ollama"}
"""Other names for a prefix, where LiteLLM has several ways to one provider and there is one here."""

GUESSED = {
    "openai": "openai",
    "anthropic": "anthropic",
    "cohere": "cohere",
    "bedrock": "bedrock",
    "gemini": "vertex_ai",
}
"""Whose models LiteLLM knows without a prefix: by our type, the prefix that it takes them for."""


def guess(model: str) -> str | None:
    """The prefix that LiteLLM would take a model without one for, or None if it would not know either."""
    if model == "*":
        return "openai"
    for type, prefix in GUESSED.items():
        if any(fnmatchcase(model, pattern) for pattern in VENDORS[type].models):
            return prefix
    return "openai" if model.startswith("ft:gpt-") else None
