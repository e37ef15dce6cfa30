"""
vLLM's OpenAI-compatible server: https://docs.vllm.ai/en/stable/serving/openai_compatible_server/.

Recorded: fields of its own that are mostly null, `reasoning`, calls whose first piece has no `arguments`, and error
codes that are numbers.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.call import Json
from gateway.simulator import openai_compatible
from gateway.simulator.http import Account, Refusal, Request, bearer
from gateway.simulator.openai_chat import Chunk
from gateway.simulator.openai_family import Flavour, grammar

MODELS = ("Qwen/Qwen3-8B",)

_KINDS = {400: "BadRequestError", 401: "Unauthorized", 404: "NotFoundError", 429: "TooManyRequests"}


def answer(body: Json, answer: Json) -> Json:
    """With vLLM's own fields; a plain answer has an empty list of calls."""
    told = openai_compatible.answer(body, answer)
    choices = [
        {**choice, "message": _message(choice["message"]), "stop_reason": None, "token_ids": None}
        for choice in told["choices"]
    ]
    own = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "kv_transfer_params"))
    return {**told, "choices": choices, "usage": _usage(told["usage"]), **own}


def _usage(usage: Json) -> Json:
    """Without details, which are told only if the server was started so."""
    return {**usage, "prompt_tokens_details": None, "completion_tokens_details": None}


def _message(message: Json) -> Json:
    calls = [{**call, "id": _call_id(call["id"])} for call in message.get("tool_calls", [])]
    return {
        "role": "assistant",
        "content": message["content"],
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": calls,
        "reasoning": message.get("reasoning_content"),
    }


def chunks(body: Json, told: list[Chunk]) -> list[Chunk]:
    """The same, streamed."""
    plain = openai_compatible.chunks(body, told)
    return [Chunk(_chunk(content), tokens) for content, tokens in plain]


def _chunk(content: Json) -> Json:
    usage = content.get("usage")
    told = {"usage": usage and _usage(usage)} if "usage" in content else {}
    return {**content, "choices": [_choice(choice) for choice in content["choices"]], **told}


def _choice(choice: Json) -> Json:
    delta = dict(choice["delta"])
    if "reasoning_content" in delta:
        delta = {"reasoning": delta["reasoning_content"]}
    if "tool_calls" in delta:
        delta["tool_calls"] = [_call(call) for call in delta["tool_calls"]]
    ending = {"stop_reason": None} if choice["finish_reason"] else {}
    return {**choice, "delta": delta, **ending, "token_ids": None}


def _call(call: Json) -> Json:
    if "id" not in call:
        return call
    return {**call, "id": _call_id(call["id"]), "function": {"name": call["function"]["name"]}}


def _call_id(id: str) -> str:
    return id.replace("call_", "chatcmpl-tool-")


def error(refusal: Refusal) -> Refusal:
    """`code` is the status, and `type` a class of errors."""
    told = refusal.envelope["error"]
    kind = _KINDS.get(refusal.status, "InternalServerError")
    fields = {"message": told["message"], "type": kind, "param": told["param"], "code": refusal.status}
    return replace(refusal, envelope={"error": fields})


def turn_away(request: Request, account: Account) -> Refusal | None:
    """With `--api-key` it wants that key, and says no more than that."""
    if account.api_key is None or bearer(request) == account.api_key:
        return None
    return Refusal(401, {"error": "Unauthorized"})


GRAMMAR = grammar(
    Flavour(
        answer=answer,
        chunks=chunks,
        error=error,
        errors={
            "context-length": Refusal(
                400,
                {
                    "error": {
                        "message": "This model's maximum context length is 4096 tokens. However, you requested 9000"
                        " tokens in the messages. Please reduce the length of the input messages.",
                        "type": "BadRequestError",
                        "param": "input_text",
                        "code": 400,
                    }
                },
            )
        },
        headers=((b"server", b"uvicorn"),),
        reasons=True,
        details=False,
        vector=1024,
    ),
    MODELS,
    turn_away=turn_away,
)
