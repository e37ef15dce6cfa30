"""What a call has used that was cut, estimated call by call over the recordings, against what the providers counted."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest

from gateway.core.call import Call, Target, UpstreamReply
from gateway.core.errors import UpstreamError
from gateway.core.events import Event, Reasoning, Refusal, Text, ToolCallArguments, Usage, UsageReported
from gateway.dialects.registry import load
from gateway.policy.estimate import Estimates

RECORDINGS = Path(__file__).resolve().parents[3] / "shared/recordings"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not here"),
]

FILES = {
    "anthropic.messages": "anthropic",
    "azure.chat": "openai_chat",
    "bedrock.converse": "bedrock",
    "bedrock.converse-stream": "bedrock",
    "cohere.chat": "cohere",
    "gemini.generateContent": "gemini",
    "gemini.streamGenerateContent": "gemini",
    "mistral.chat": "mistral",
    "ollama.v1-chat": "openai_chat",
    "openai.chat": "openai_chat",
    "openai_compat.chat": "openai_chat",
    "vllm.chat": "openai_chat",
}
"""Recorded exchanges, and the dialect that reads them."""

UNSEEN = frozenset({"server_tools", "document", "video", "vision", "image", "audio"})
"""Tags of calls whose prompt is mostly what no request shows."""
CACHED_ELSEWHERE = b'"cachedContent"'
ENCODED = re.compile(r"[A-Za-z0-9+/_=-]{400,}")

OFF = 0.15
"""The part of the truth by which an estimate may be off in sum."""


class Told(NamedTuple):
    """A call that came to its end."""

    provider: str
    model: str
    size: int
    carried: int
    usage: Usage


@cache
def calls() -> tuple[Told, ...]:
    return tuple(told for name, dialect in FILES.items() for told in recorded(name, dialect))


def recorded(name: str, dialect: str) -> Iterator[Told]:
    """The calls of one file that have words only, were answered with some, and say what they used."""
    with gzip.open(RECORDINGS / f"{name}.jsonl.gz") as lines:
        for exchange in map(orjson.loads, lines):
            body = orjson.dumps(exchange["request"]["body"])
            unseen = UNSEEN & {*exchange["tags"]} or CACHED_ELSEWHERE in body or ENCODED.search(body.decode())
            if exchange["response"]["status"] != 200 or not exchange["request"]["body"] or unseen:
                continue
            heard = list(events(exchange["response"], dialect))
            carried = sum(map(characters, heard))
            usages = [event.usage for event in heard if isinstance(event, UsageReported)]
            if carried and usages and usages[-1].total:
                yield Told(name.partition(".")[0], exchange["model"] or "", len(body), carried, usages[-1])


def events(response: Any, dialect: str) -> Iterator[Event]:
    """What is told of an answer; nothing of one that is broken."""
    raw = response.get("body_base64")
    body = base64.b64decode(raw) if raw else response["body_text"].encode()
    try:
        if response["stream"]:
            decoder = load(dialect).stream(Target("p", "m", {}, done_marker=b"[DONE]" in body))
            yield from decoder.feed(body)
            yield from decoder.end()
        else:
            yield from load(dialect).answer(UpstreamReply(200, (), body))
    except UpstreamError:
        return


def characters(event: Event) -> int:
    match event:
        case Text(text=said) | Reasoning(text=said) | Refusal(text=said) | ToolCallArguments(json=said):
            return len(said)
        case _:
            return 0


def off(told: list[Told]) -> dict[str, float]:
    """By provider and in all: how far the sum of all tokens is off, each call estimated before it was learnt of."""
    estimates, sums = Estimates(), dict[str, list[int]]()
    for provider, model, size, carried, usage in told:
        call, target = Call("", "chat", "", True, False, {}, size), Target(provider, model, {})
        for name in (provider, "all"):
            true, estimated = sums.setdefault(name, [0, 0])
            sums[name] = [true + usage.total, estimated + estimates.cut(call, target, carried).total]
        estimates.learn(call, target, usage, carried)
    return {name: estimated / true - 1 for name, (true, estimated) in sums.items()}


@pytest.mark.parametrize("order", range(3))
def test_calls_that_were_cut_are_charged_nearly_what_they_used(order: int) -> None:
    told = list(calls())
    Random(order).shuffle(told)
    assert len(told) > 3000
    found = off(told)
    assert abs(found["all"]) < OFF / 3
    assert {name: share for name, share in found.items() if abs(share) > OFF} == {}
