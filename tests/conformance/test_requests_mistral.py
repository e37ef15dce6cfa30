"""Requests that clients really sent to OpenAI-shaped servers, as Mistral would be sent them."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.core.call import Target
from gateway.dialects.hub import private
from gateway.dialects.mistral import ask
from tests.conformance.test_recorded_requests import RECORDINGS, SHARED, SOURCES, each_source
from tests.conformance.test_requests_cohere import Outcome, links, outcome, said, strings

SPEC = SHARED / "specs/mistral/openapi.yaml"
TARGET = Target("mistral", "mistral-small", {"chat": "https://api.mistral.ai/v1/chat/completions"})

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPEC.is_file()), reason="the shared recordings are not here"),
]

INEXPRESSIBLE = {
    "Mistral does not take parts of the type video_url.": 1,
    "This provider does not take tools of the type openrouter:web_search.": 6,
    "This provider does not take tools of the type openrouter:advisor.": 2,
    "This provider does not take tools of the type custom.": 1,
}
"""What Mistral has no way to say, and how many of the 1977 requests ask for it."""


@cache
def mistral(source: str) -> Outcome:
    return outcome(source, ask, TARGET)


def test_what_mistral_cannot_say_is_little_and_known() -> None:
    assert sum((mistral(source).refused for source in SOURCES), Counter()) == INEXPRESSIBLE


@each_source
def test_each_request_is_valid_by_mistral_s_own_description(source: str) -> None:
    """But for the client's own fields, which go to whichever provider it is."""
    for name, asked, body in mistral(source).sent:
        own = {field: value for field, value in body.items() if field not in private(asked)}
        complaints = [error.message[:300] for error in schema().iter_errors(own)]
        assert not complaints, name


@each_source
def test_no_word_tool_argument_or_image_is_lost(source: str) -> None:
    for name, asked, body in mistral(source).sent:
        everything = "\n".join(strings(body))
        missing = [text[:80] for text in said(asked) if text not in everything]
        assert not missing, name


@each_source
def test_each_result_answers_the_call_that_it_answered(source: str) -> None:
    for name, asked, body in mistral(source).sent:
        assert links(body["messages"]) == links(asked["messages"]), name
        ids = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
        assert all(re.fullmatch(r"[A-Za-z0-9]{9}", id) for id in ids), name


ORDER = {
    "": {"system", "user", "assistant"},
    "system": {"system", "user", "assistant"},
    "user": {"user", "assistant"},
    "assistant": {"user", "assistant", "tool"},
    "tool": {"tool", "assistant"},
}
"""Which roles Mistral takes after which."""


@each_source
def test_messages_are_in_an_order_that_mistral_takes(source: str) -> None:
    for name, _, body in mistral(source).sent:
        roles = [message["role"] for message in body["messages"]]
        if not answers_nothing(roles):
            assert all(role in ORDER[before] for before, role in pairwise(["", *roles])), name
        last = body["messages"][-1]
        assert last["role"] in ("user", "tool") or last.get("prefix") or last.get("tool_calls"), name


def answers_nothing(roles: list[str]) -> bool:
    """Whether there is a tool's result without a call before it, which is the client's mistake."""
    return any(role == "tool" and before not in ("tool", "assistant") for before, role in pairwise(["", *roles]))


@cache
def schema() -> Any:
    described = yaml.load(SPEC.read_bytes(), Loader=yaml.CSafeLoader)
    schemas = described["components"]["schemas"]
    # The description knows two efforts; models since, and the SDK, know all that OpenAI knows:
    # https://docs.mistral.ai/inference/conversations/reasoning
    del schemas["ChatCompletionRequest"]["properties"]["reasoning_effort"]["enum"]
    request = {"$ref": "#/components/schemas/ChatCompletionRequest"}
    return Draft202012Validator({**request, "components": {"schemas": schemas}})
