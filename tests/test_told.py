"""What is known of an answer's usage before it is complete, whichever API tells it."""

from __future__ import annotations

import orjson
import pytest

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Target
from gateway.core.events import Usage
from gateway.dialects import gemini_answers, registry
from gateway.dialects.base import StreamDecoder
from gateway.engine.lanes import Translated
from gateway.simulator import api
from gateway.simulator.http import Reply, respond
from gateway.surfaces.openai_encoder import Encoder
from tests.test_simulator_types import WAYS, account

TARGET = Target("p", "m", {})
NOTHING = Usage()

SILENT = frozenset(WAYS) - {"anthropic", "gemini"}
"""Those that tell nothing before the end."""


def stream(type: str) -> Reply:
    path, body = WAYS[type].asking(stream=True)
    return respond(api.GRAMMARS[type], "POST", path, orjson.dumps(body), account(type))


def told(type: str, frames: int) -> Usage:
    """After so many frames of an answer; a negative number leaves out so many at the end."""
    decoder: StreamDecoder = registry.load(VENDORS[type].dialect).stream(TARGET)
    for frame in stream(type).frames[:frames]:
        list(decoder.feed(frame.data))
    return decoder.told


@pytest.mark.parametrize("type", WAYS)
def test_nothing_is_known_before_anything_has_come(type: str) -> None:
    assert told(type, 0) == NOTHING


@pytest.mark.parametrize("type", sorted(SILENT))
def test_what_tells_its_usage_at_the_end_tells_nothing_before(type: str) -> None:
    assert told(type, -3) == NOTHING


@pytest.mark.parametrize("type", ["anthropic", "gemini"])
def test_the_prompt_is_counted_in_the_first_event(type: str) -> None:
    assert told(type, 1) == Usage(stream(type).prompt_tokens, 1)


def test_gemini_counts_the_answer_as_it_comes() -> None:
    assert told("gemini", 4) == Usage(stream("gemini").prompt_tokens, 4)


@pytest.mark.parametrize("counts", [[1], {"promptTokenCount": "many"}])
def test_counts_that_cannot_be_read_tell_nothing(counts: object) -> None:
    decoder = gemini_answers.stream(TARGET)
    chunk = {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": counts}
    list(decoder.feed(b"data: " + orjson.dumps(chunk) + b"\n\n"))
    assert decoder.told == NOTHING


@pytest.mark.parametrize("type", ["anthropic", "gemini"])
def test_what_was_told_on_the_way_gives_way_to_the_usage(type: str) -> None:
    decoder = registry.load(VENDORS[type].dialect).stream(TARGET)
    lane = Translated(decoder, Encoder(created=1, include_usage=False, id="i", model="m"))
    *frames, last = (frame.data for frame in stream(type).frames)
    for frame in frames:
        lane.feed(frame)
    assert (lane.usage, lane.told.input) == (None, stream(type).prompt_tokens)
    lane.feed(last)
    lane.end()
    assert (lane.usage, lane.told) == (Usage(8, 10), NOTHING)
