"""Requests that clients really sent to OpenAI-shaped servers, through the door and out again."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema.validators import validator_for

from gateway.core.call import Json, Target
from gateway.core.errors import InvalidRequest
from gateway.dialects.openai_chat import ask
from gateway.surfaces.openai_chat import accept

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDINGS = SHARED / "recordings"
SCHEMAS = SHARED / "specs/openai/openai-sdk-3.52.0.jsonschema.json"
SOURCES = ("openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "openai_compat.chat", "gemini_openai.chat")

OPENAI = Target("openai", "gpt-4o", {"chat": "https://api.openai.com/v1/chat/completions"}, send_user_id=True)

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here"),
]
each_source = pytest.mark.parametrize("source", SOURCES)


def recorded(source: str) -> Iterator[tuple[str, str, Json]]:
    """Name, URL and body of each request that its server took."""
    with gzip.open(RECORDINGS / f"{source}.jsonl.gz") as lines:
        for line in lines:
            recording = orjson.loads(line)
            body = recording["request"]["body"]
            if isinstance(body, dict) and recording["response"]["status"] < 400:
                yield recording["name"], recording["request"]["url"], body


def through(url: str, body: Json) -> Any:
    """What OpenAI would be sent, had this request come to us."""
    deployment = re.search(r"/deployments/([^/]+)/", url)
    path_model = deployment[1] if deployment else None
    call = accept(orjson.dumps(body), id="req_1", path_model=path_model, default_model="any")
    return orjson.loads(ask(call, OPENAI).body)


@cache
def validator(kind: str) -> Any:
    schema = orjson.loads(SCHEMAS.read_bytes())["schemas"][f"CompletionCreateParams{kind}"]
    return validator_for(schema)(schema)


def is_valid(body: Json) -> bool:
    return bool(validator("Streaming" if body.get("stream") else "NonStreaming").is_valid(body))


@each_source
def test_what_a_server_took_we_take(source: str) -> None:
    refused = []
    for name, url, body in recorded(source):
        try:
            through(url, body)
        except InvalidRequest as error:
            refused.append(f"{name}: {error.message}")
    assert not refused


@each_source
def test_nothing_a_client_said_is_lost(source: str) -> None:
    for name, url, body in recorded(source):
        expected = {**body, "model": "gpt-4o"}
        if body.get("stream"):
            expected["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        assert through(url, body) == expected, name


@each_source
def test_what_was_valid_stays_valid_by_openais_own_description(source: str) -> None:
    valid = [(name, url, body) for name, url, body in recorded(source) if is_valid({"model": "any", **body})]
    assert valid
    for name, url, body in valid:
        assert is_valid(through(url, body)), name
