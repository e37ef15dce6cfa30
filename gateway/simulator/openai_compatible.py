"""A plain server of OpenAI's grammar, as most vendors run one: no padding, no tiers, and `reasoning_content`."""

from __future__ import annotations

from gateway.core.call import Json
from gateway.simulator.openai_chat import Chunk
from gateway.simulator.openai_family import Flavour, grammar

MODELS = ("llama-3.3-70b", "deepseek-chat")

_OWN_TO_OPENAI = ("service_tier", "system_fingerprint")


def answer(body: Json, answer: Json) -> Json:
    """Without what only OpenAI says."""
    return {**plain(answer), "choices": [_plain_choice(choice) for choice in answer["choices"]]}


def chunks(body: Json, told: list[Chunk]) -> list[Chunk]:
    """The same, streamed. `refusal` is a field of OpenAI's alone."""
    return [Chunk(_plain_chunk(content), tokens) for content, tokens in told]


def plain(content: Json) -> Json:
    """Without the fields at the top that only OpenAI has."""
    return {name: value for name, value in content.items() if name not in _OWN_TO_OPENAI}


def _plain_choice(choice: Json) -> Json:
    message = {name: value for name, value in choice["message"].items() if name not in ("refusal", "annotations")}
    return {**choice, "message": message}


def _plain_chunk(content: Json) -> Json:
    return {**plain(content), "choices": [_plain_delta(choice) for choice in content["choices"]]}


def _plain_delta(choice: Json) -> Json:
    return {**choice, "delta": {name: value for name, value in choice["delta"].items() if name != "refusal"}}


GRAMMAR = grammar(Flavour(answer=answer, chunks=chunks, reasons=True, vector=1024), MODELS)
