"""
Azure OpenAI: https://learn.microsoft.com/azure/ai-foundry/openai/reference.

Recorded: the deployment in the path, filter results everywhere, a first chunk that says nothing else, and errors with a
shape of their own. Under `/openai/v1` the newer API answers, in which the model is named in the body.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.call import Json
from gateway.simulator.http import UNIQUE, Account, Refusal, Request, bearer
from gateway.simulator.openai_chat import Chunk
from gateway.simulator.openai_family import Flavour, grammar, listed_model

MODELS = ("gpt-4o", "gpt-4o-mini")

_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_FILTER = [{"prompt_index": 0, "content_filter_results": _SAFE}]


def answer(body: Json, answer: Json) -> Json:
    """With what the filters found."""
    choices = [{"content_filter_results": _SAFE, **choice} for choice in answer["choices"]]
    told = {name: value for name, value in answer.items() if name != "service_tier"}
    return {**told, "choices": choices, "prompt_filter_results": _PROMPT_FILTER}


def chunks(body: Json, told: list[Chunk]) -> list[Chunk]:
    """With a first chunk about the prompt, which belongs to no answer yet."""
    first: Json = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    first["prompt_filter_results"] = _PROMPT_FILTER
    return [Chunk(first), *(Chunk(_filtered(content), tokens) for content, tokens in told)]


def _filtered(content: Json) -> Json:
    told = {name: value for name, value in content.items() if name != "service_tier"}
    found: Json = {name: _SAFE[name] for name in _SAFE}
    choices = [
        {"content_filter_results": found if "content" in choice["delta"] else {}, **choice}
        for choice in content["choices"]
    ]
    return {**told, "choices": choices}


def _refusal(status: int, code: str, message: str, **extra: Any) -> Refusal:
    return Refusal(status, {"error": {**extra, "code": code, "message": message}})


WRONG_KEY = _refusal(
    401,
    "401",
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an"
    " active subscription and use a correct regional API endpoint for your resource.",
)
NO_DEPLOYMENT = _refusal(
    404,
    "DeploymentNotFound",
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes,"
    " please wait a moment and try again.",
    type="invalid_request_error",
)
NOT_FOUND = _refusal(404, "404", "Resource not found")
_FILTERED = {
    **_SAFE,
    "hate": {"filtered": True, "severity": "high"},
    "jailbreak": {"detected": False, "filtered": False},
}
ERRORS = {
    "401": WRONG_KEY,
    "403": _refusal(403, "403", "Public access is disabled. Please configure private endpoint."),
    "404": NO_DEPLOYMENT,
    "429": _refusal(
        429,
        "429",
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded call"
        " rate limit of your current OpenAI S0 pricing tier. Please retry after the time in the Retry-After header.",
    ),
    "500": _refusal(500, "InternalServerError", "The server had an error while processing your request."),
    "503": _refusal(503, "ServiceUnavailable", "The service is temporarily unable to process your request."),
    "insufficient-quota": _refusal(
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
    ),
    "content-filter": Refusal(
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management"
                " policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FILTERED},
            }
        },
    ),
}


def turn_away(request: Request, account: Account) -> Refusal | None:
    """The key comes as `api-key`, or as a bearer token; the older paths need a version."""
    path, _, query = request.path.partition("?")
    given = request.header(b"api-key") or bearer(request)
    if not given or given != (account.api_key or given):
        return WRONG_KEY
    if not path.startswith("/openai/") or ("/openai/v1/" not in path and "api-version=" not in query):
        return NOT_FOUND
    return None


def _listed(name: str, created: int) -> Json:
    return {**listed_model(name, created), "status": "succeeded", "capabilities": {"chat_completion": True}}


def _lost(method: str, path: str) -> Refusal:
    return NOT_FOUND


GRAMMAR = replace(
    grammar(
        Flavour(
            answer=answer,
            chunks=chunks,
            errors=ERRORS,
            headers=(
                (b"apim-request-id", UNIQUE.encode()),
                (b"x-ms-region", b"Sweden Central"),
            ),
            limits=(
                (b"x-ratelimit-limit-requests", b"5000"),
                (b"x-ratelimit-limit-tokens", b"5000000"),
                (b"x-ratelimit-remaining-requests", b"4999"),
                (b"x-ratelimit-remaining-tokens", b"4999985"),
                (b"x-request-id", UNIQUE.encode()),
            ),
            listed=_listed,
        ),
        MODELS,
        base="",
        turn_away=turn_away,
    ),
    lost=_lost,
)
