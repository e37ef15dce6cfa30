"""
Ollama's OpenAI-compatible API, and the list of its own: https://docs.ollama.com/api/openai-compatibility.

Recorded: `fp_ollama`, the role in every chunk, `reasoning`, and each call whole in one chunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.call import Json
from gateway.simulator import openai_compatible
from gateway.simulator.http import Ask, Refusal, Reply, Route, whole
from gateway.simulator.openai_chat import Chunk
from gateway.simulator.openai_family import Flavour, grammar
from gateway.simulator.refusals import check as strictly

MODELS = ("qwen3:latest", "llama3.2:latest")

FINGERPRINT = {"system_fingerprint": "fp_ollama"}


def answer(body: Json, answer: Json) -> Json:
    """The whole answer as Ollama gives it."""
    told = openai_compatible.answer(body, answer)
    choices = [_choice(choice) for choice in told["choices"]]
    return {**told, **FINGERPRINT, "choices": choices, "usage": _usage(told["usage"])}


def _usage(usage: Json) -> Json:
    """The three counts, without details."""
    return {name: count for name, count in usage.items() if not name.endswith("_details")}


def _choice(choice: Json) -> Json:
    message = dict(choice["message"])
    reasoning = message.pop("reasoning_content", None)
    message["content"] = message["content"] or ""
    calls = [{**call, "index": index} for index, call in enumerate(message.pop("tool_calls", []))]
    extra = ({"reasoning": reasoning} if reasoning else {}) | ({"tool_calls": calls} if calls else {})
    # A choice with calls ends with `tool_calls` here, also where one was asked for by its name.
    finish = "tool_calls" if calls and choice["finish_reason"] == "stop" else choice["finish_reason"]
    return {"index": choice["index"], "message": message | extra, "finish_reason": finish}


def chunks(body: Json, told: list[Chunk]) -> list[Chunk]:
    """The pieces of a call are put together; no chunk is without the role and the content."""
    made: list[Chunk] = []
    for content, tokens in openai_compatible.chunks(body, told):
        choices = content["choices"]
        call = choices[0]["delta"].get("tool_calls", [None])[0] if choices else None
        if call is not None and "id" not in call:
            _extend(made, choices[0]["index"], call, tokens)
        elif tokens or not choices or choices[0]["finish_reason"]:
            made.append(Chunk({**_chunk(content), "choices": [_delta(choice) for choice in choices]}, tokens))
    return made


def _chunk(content: Json) -> Json:
    """Only the chunk with the usage says anything of it."""
    head = {name: value for name, value in content.items() if name != "usage"}
    return {**head, **FINGERPRINT, **({"usage": _usage(content["usage"])} if content.get("usage") else {})}


def _delta(choice: Json) -> Json:
    delta = {"role": "assistant", "content": "", **choice["delta"]}
    if "reasoning_content" in delta:
        delta["reasoning"] = delta.pop("reasoning_content")
    if "tool_calls" in delta:
        delta["tool_calls"] = [{**call, "function": dict(call["function"])} for call in delta["tool_calls"]]
    finish = choice["finish_reason"]
    return {"index": choice["index"], "delta": delta, "finish_reason": finish}


def _extend(made: list[Chunk], choice: int, call: Json, tokens: int) -> None:
    """Adds a piece of its arguments to the last call of a choice."""
    for place in range(len(made) - 1, -1, -1):
        known = made[place].content["choices"][0]
        if known["index"] == choice and "tool_calls" in known["delta"]:
            known["delta"]["tool_calls"][0]["function"]["arguments"] += call["function"]["arguments"]
            made[place] = made[place]._replace(tokens=made[place].tokens + tokens)
            return


def check(body: Any) -> tuple[int, Json] | None:
    """It takes any number for a limit: 0 or less is none."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ("max_tokens", "max_completion_tokens")}
    return strictly(body)


def error(refusal: Refusal) -> Refusal:
    """It has no codes."""
    told = refusal.envelope["error"]
    kind = "api_error" if refusal.status >= 500 else "invalid_request_error"
    return replace(refusal, envelope={"error": {**told, "type": kind, "param": None, "code": None}})


def tags(ask: Ask) -> Reply:
    """The models that are on the machine: https://docs.ollama.com/api/tags."""
    details = {"format": "gguf", "family": "llama", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}
    listed = [
        {"name": name, "model": name, "modified_at": "2025-01-01T00:00:00Z", "size": 5225388164, "details": details}
        for name in ask.account.models
    ]
    return whole({"models": listed})


GRAMMAR = grammar(
    Flavour(
        answer=answer,
        chunks=chunks,
        error=error,
        check=check,
        errors={
            "404": Refusal(
                404,
                {
                    "error": {
                        "message": 'model "simulated" not found, try pulling it first',
                        "type": "api_error",
                        "param": None,
                        "code": None,
                    }
                },
            )
        },
        reasons=True,
        details=False,
        vector=768,
    ),
    MODELS,
    routes=(Route("GET", "/api/tags", tags),),
)
