"""What the simulators say is what the gateway's dialects read."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Event, Finished, Reasoning, Text, ToolCallArguments, ToolCallStarted, UsageReported
from gateway.dialects.base import Dialect
from gateway.dialects.registry import load
from gateway.simulator.api import GRAMMARS
from gateway.simulator.faults import Faults
from gateway.simulator.http import Reply, refused
from gateway.simulator.script import spoil
from tests.test_simulator_types import PARAMETERS, WAYS, WORDS, reply

TARGET = Target(provider="simulated", model="m", urls={})
WITH_USAGE = {"stream_options": {"include_usage": True}}
OPENAI_TOOLS = {"tools": [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in "fg"]}
TOOLS: dict[str, Json] = {
    "anthropic": {"tools": [{"name": name, "input_schema": PARAMETERS} for name in "fg"]},
    "bedrock": {
        "toolConfig": {"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": PARAMETERS}}} for name in "fg"]}
    },
    "gemini": {
        "tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": PARAMETERS} for name in "fg"]}]
    },
}
THOUGHT: dict[str, Json] = {
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
    "bedrock": {"additionalModelRequestFields": {"thinking": {"type": "enabled"}}},
    "gemini": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    "cohere": {"thinking": {"type": "enabled"}},
}
every_type = pytest.mark.parametrize("type", WAYS)
either_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def dialect(type: str) -> Dialect:
    return load(VENDORS[type].dialect)


def answered(type: str, *, stream: bool, **fields: Any) -> Reply:
    """What a simulator answers, with the usage that the gateway always asks for."""
    wants_usage = stream and VENDORS[type].dialect == "openai_chat"
    return reply(type, stream=stream, **fields, **(WITH_USAGE if wants_usage else {}))


def events(type: str, told: Reply) -> list[Event]:
    """What the dialect makes of it."""
    if not told.frames:
        return list(dialect(type).answer(UpstreamReply(told.status, told.headers, told.body)))
    decoder = dialect(type).stream(TARGET)
    return [*(event for frame in told.frames for event in decoder.feed(frame.data)), *decoder.end()]


@every_type
@either_way
def test_the_words_and_the_account_are_read(type: str, stream: bool) -> None:
    told = answered(type, stream=stream)
    heard = events(type, told)
    assert "".join(event.text for event in heard if isinstance(event, Text)) == f"You said: {WORDS}"
    (usage,) = [event.usage for event in heard if isinstance(event, UsageReported)]
    assert (usage.input, usage.output) == (told.prompt_tokens, told.output)
    assert [event.reason for event in heard if isinstance(event, Finished)] == ["stop"]


@every_type
@either_way
def test_parallel_calls_are_read(type: str, stream: bool) -> None:
    heard = events(type, answered(type, stream=stream, **TOOLS.get(type, OPENAI_TOOLS)))
    assert [event.name for event in heard if isinstance(event, ToolCallStarted)] == ["f", "g"]
    for index in range(2):
        pieces = [event.json for event in heard if isinstance(event, ToolCallArguments) and event.index == index]
        assert "".join(pieces).replace(" ", "") == '{"city":"example"}'
    assert [event.reason for event in heard if isinstance(event, Finished)] == ["tool_calls"]


@pytest.mark.parametrize("type", [name for name in WAYS if name not in ("openai", "azure")])
@either_way
def test_thought_is_read(type: str, stream: bool) -> None:
    heard = events(type, answered(type, stream=stream, **THOUGHT.get(type, {"reasoning_effort": "high"})))
    thought = "".join(event.text for event in heard if isinstance(event, Reasoning))
    assert thought == "Let me see what was asked for, and answer just that."


@every_type
@pytest.mark.parametrize(
    ("fault", "failures"),
    [
        ("no-done", {Failure.TRUNCATED}),
        ("truncated-json", {Failure.TRUNCATED, Failure.MALFORMED}),
        ("garbage", {Failure.MALFORMED}),
    ],
)
def test_a_spoilt_stream_is_no_answer(type: str, fault: str, failures: set[Failure]) -> None:
    with pytest.raises(UpstreamError) as error:
        events(type, spoil(answered(type, stream=True), fault, Faults(), GRAMMARS[type]))
    assert error.value.failure in failures


@every_type
def test_an_error_in_a_stream_is_heard(type: str) -> None:
    with pytest.raises(UpstreamError) as error:
        events(type, spoil(answered(type, stream=True), "error-in-stream", Faults(), GRAMMARS[type]))
    assert error.value.failure in {Failure.SERVER_ERROR, Failure.OVERLOADED}


@every_type
@pytest.mark.parametrize(
    ("name", "failures"),
    [
        ("401", {Failure.CREDENTIALS}),
        ("403", {Failure.CREDENTIALS}),
        ("404", {Failure.MODEL_MISSING}),
        ("429", {Failure.RATE_LIMITED, Failure.OVERLOADED}),
        ("500", {Failure.SERVER_ERROR}),
        ("503", {Failure.OVERLOADED}),
        ("context-length", {Failure.CONTEXT_TOO_LONG}),
    ],
)
def test_errors_are_known_for_what_they_are(type: str, name: str, failures: set[Failure]) -> None:
    told = refused(GRAMMARS[type].refuse(name, 7, ""))
    error = dialect(type).refusal(UpstreamReply(told.status, told.headers, told.body))
    assert error.failure in failures
    assert error.failure != Failure.RATE_LIMITED or error.retry_after == 7


@pytest.mark.parametrize("type", [name for name in WAYS if name not in ("bedrock", "ollama", "vllm")])
def test_spent_money_is_known_for_what_it_is(type: str) -> None:
    """Servers of one's own take none, and Amazon's quotas are not of money."""
    told = refused(GRAMMARS[type].refuse("insufficient-quota", 7, ""))
    assert dialect(type).refusal(UpstreamReply(told.status, told.headers, told.body)).failure == Failure.BILLING
