"""The simulators against recorded traffic: they refuse nothing that was taken, and say nothing that was never said."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from botocore.eventstream import EventStreamBuffer

from gateway.core.call import Json
from gateway.simulator.api import GRAMMARS
from gateway.simulator.http import Account, Reply, respond

RECORDINGS = Path(__file__).resolve().parents[2] / "shared/recordings"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not here"),
]

FILES = {
    "anthropic.messages": "anthropic",
    "azure.chat": "azure",
    "azure.embeddings": "azure",
    "bedrock.converse": "bedrock",
    "bedrock.converse-stream": "bedrock",
    "bedrock.invoke-embed": "bedrock",
    "cohere.chat": "cohere",
    "cohere.embed": "cohere",
    "gemini.batchEmbedContents": "gemini",
    "gemini.generateContent": "gemini",
    "gemini.streamGenerateContent": "gemini",
    "mistral.chat": "mistral",
    "mistral.embeddings": "mistral",
    "ollama.v1-chat": "ollama",
    "openai.chat": "openai",
    "openai.embeddings": "openai",
    "openai_compat.chat": "openai_compatible",
    "openai_compat.embeddings": "openai_compatible",
    "vllm.chat": "vllm",
    "vllm.embeddings": "vllm",
}
"""Recorded exchanges, and the type of who answered."""

REFUSED = {
    "anthropic-000450": "a result with another id than the call's: an old model that is gone let it pass",
    "anthropic-001089": "the same",
    "anthropic-000658": "the signature was put in by hand",
    "bedrock-000204": "an assistant speaks first: Claude takes that, other models do not",
    "bedrock-000410": "two user messages in a row, which the API's documentation forbids",
    "bedrock-000214": "the recorded body is text inside text",
}
"""Requests that were served then, and are refused here."""


def recorded(name: str) -> Iterator[Json]:
    """Exchanges that were served, with their requests."""
    with gzip.open(RECORDINGS / f"{name}.jsonl.gz") as lines:
        for line in lines:
            exchange = orjson.loads(line)
            if exchange["response"]["status"] == 200 and exchange["request"]["body"]:
                yield exchange


def replayed(exchange: Json, type: str) -> Reply:
    """What the simulator says to a recorded request."""
    body, url = exchange["request"]["body"], urlsplit(exchange["request"]["url"])
    path = url.path
    if type == "anthropic":
        # Elsewhere the model is named in the address.
        path, body = "/v1/messages", {"model": "m", **{k: v for k, v in body.items() if k != "anthropic_version"}}
    grammar = GRAMMARS[type]
    return respond(grammar, "POST", f"{path}?alt=sse", orjson.dumps(body), Account(grammar.models, 1))


def is_as_it_was_sent(exchange: Json) -> bool:
    """Some recorders put other ids and signatures in place of those that were sent."""
    return b"REDACTED" not in orjson.dumps(exchange["request"]["body"])


@pytest.mark.parametrize("name", FILES)
def test_what_a_provider_took_is_not_refused(name: str) -> None:
    refused = {
        exchange["name"]: told.body[:300]
        for exchange in recorded(name)
        if is_as_it_was_sent(exchange) and (told := replayed(exchange, FILES[name])).status != 200
    }
    assert {name: why for name, why in refused.items() if name not in REFUSED} == {}


# Words of the APIs


FREE = ("input", "args", "arguments", "embedding", "embeddings", "values", "inputSchema", "tool_output")
"""What is in these is not the API's."""


def words(value: Any, above: str = "") -> Iterator[str]:
    """The names of all fields, with those they are in."""
    if isinstance(value, list):
        for item in value:
            yield from words(item, above)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{above}.{name}"
            if name not in FREE:
                yield from words(inner, f"{above}.{name}")


def contents(body: bytes, headers: object) -> Iterator[Any]:
    """A whole answer, or the events of a stream."""
    if "eventstream" in str(headers):
        buffer = EventStreamBuffer()
        buffer.add_data(body)
        messages: Any = buffer
        for message in messages:
            yield {message.headers.get(":event-type", "error"): orjson.loads(message.payload)}
    elif "event-stream" in str(headers):
        for line in body.splitlines():
            if line.startswith(b"data: {"):
                yield orjson.loads(line.removeprefix(b"data: "))
    else:
        yield orjson.loads(body)


@cache
def known(name: str) -> frozenset[str]:
    """Every field that a provider was seen to send."""
    found: set[str] = set()
    for exchange in recorded(name):
        response = exchange["response"]
        raw = response.get("body_base64")
        body = base64.b64decode(raw) if raw else response["body_text"].encode()
        try:
            found.update(word for content in contents(body, response["headers"]) for word in words(content))
        except ValueError:
            continue  # some recordings are of broken answers
    return frozenset(found)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_said_that_the_provider_was_not_seen_to_say(name: str) -> None:
    said: set[str] = set()
    for exchange in list(recorded(name))[::5]:
        told = replayed(exchange, FILES[name])
        if told.status == 200:
            body = told.body or b"".join(frame.data for frame in told.frames)
            said.update(word for content in contents(body, told.headers) for word in words(content))
    assert said - known(name) == set()
