"""What every dialect owes, whatever it speaks. Knows none of them by name.

A dialect brings its own samples in `tests/recordings/NAME/`: whole answers (`.json`) and streams (`.sse`, or any other
ending for a grammar without lines). Two of one stem tell the same story.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target, UpstreamReply
from gateway.core.errors import UpstreamError
from gateway.core.events import Event, UsageReported
from gateway.dialects.base import Dialect
from gateway.dialects.registry import DIALECTS, load
from gateway.surfaces.openai_encoder import whole

SAMPLES = Path(__file__).parents[1] / "recordings"
TARGET = Target("harbour", "tide-1", {"chat": "http://127.0.0.1:1/chat", "chat_stream": "http://127.0.0.1:1/stream"})

WHOLES = sorted((path.parent.name, path) for name in DIALECTS for path in (SAMPLES / name).glob("*.json"))
STREAMS = sorted(
    (path.parent.name, path) for name in DIALECTS for path in (SAMPLES / name).glob("*.*") if path.suffix != ".json"
)


def _named(samples: list[tuple[str, Path]]) -> list[Any]:
    return [pytest.param(load(name), path, id=f"{name}-{path.name}") for name, path in samples]


every_dialect = pytest.mark.parametrize("dialect", [pytest.param(load(name), id=name) for name in DIALECTS])
every_stream = pytest.mark.parametrize(("dialect", "sample"), _named(STREAMS))
every_whole = pytest.mark.parametrize(("dialect", "sample"), _named(WHOLES))
every_lined_stream = pytest.mark.parametrize(
    ("dialect", "sample"), _named([(name, path) for name, path in STREAMS if path.suffix == ".sse"])
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def heard(dialect: Dialect, pieces: Iterable[bytes]) -> list[Event]:
    decoder = dialect.stream(TARGET)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


def story(events: Iterable[Event]) -> Json:
    return whole(events, created=0)


@every_dialect
def test_a_dialect_brings_samples_of_both_kinds(dialect: Dialect) -> None:
    names = {name for name, _ in STREAMS} & {name for name, _ in WHOLES}
    assert any(load(name) is dialect for name in names)


@every_stream
def test_streamed_and_whole_tell_the_same_story(dialect: Dialect, sample: Path) -> None:
    twin = sample.with_suffix(".json")
    if twin.exists():
        told = dialect.answer(UpstreamReply(200, (), twin.read_bytes()))
        assert story(heard(dialect, [sample.read_bytes()])) == story(told)


@every_stream
def test_a_story_has_an_end_and_says_what_it_cost(dialect: Dialect, sample: Path) -> None:
    events = heard(dialect, [sample.read_bytes()])
    assert sum(isinstance(event, UsageReported) for event in events) == 1
    assert story(events)["choices"]


@every_stream
@given(chance=st.data())
def test_how_the_network_cuts_the_bytes_does_not_matter(dialect: Dialect, sample: Path, chance: st.DataObject) -> None:
    stream = sample.read_bytes()
    cuts = sorted(chance.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert heard(dialect, pieces) == heard(dialect, [stream])


@every_lined_stream
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_all_line_ends_tell_the_same_story_even_byte_by_byte(dialect: Dialect, sample: Path, line_end: bytes) -> None:
    stream = sample.read_bytes()
    other = stream.replace(b"\n", line_end)
    assert heard(dialect, (other[at : at + 1] for at in range(len(other)))) == heard(dialect, [stream])


@every_stream
def test_no_prefix_is_taken_for_a_whole(dialect: Dialect, sample: Path) -> None:
    stream = sample.read_bytes()
    last = len(stream.rstrip() if sample.suffix == ".sse" else stream)  # the full stop may lack its blank line
    for length in range(last):
        with pytest.raises(UpstreamError):
            assert heard(dialect, [stream[:length]]) is None, length


@every_dialect
@given(garbage=st.binary())
def test_a_stream_of_garbage_is_the_upstreams_failure(dialect: Dialect, garbage: bytes) -> None:
    with pytest.raises(UpstreamError):
        heard(dialect, [garbage])


@every_dialect
@given(values=st.lists(json_values))
def test_a_stream_of_well_formed_nonsense_is_the_upstreams_failure(dialect: Dialect, values: list[Any]) -> None:
    with pytest.raises(UpstreamError):
        heard(dialect, [b"data: " + orjson.dumps(value) + b"\n\n" for value in values])


@every_dialect
@given(body=st.binary() | json_values.map(orjson.dumps))
def test_a_whole_answer_of_nonsense_is_the_upstreams_failure(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(UpstreamError):
        list(dialect.answer(UpstreamReply(200, (), body)))


@every_whole
@given(chance=st.data())
def test_a_wrong_value_anywhere_in_an_answer_raises_nothing_else(
    dialect: Dialect, sample: Path, chance: st.DataObject
) -> None:
    body = _disturbed(orjson.loads(sample.read_bytes()), chance)
    with suppress(UpstreamError):
        orjson.dumps(story(dialect.answer(UpstreamReply(200, (), orjson.dumps(body)))))


@every_lined_stream
@given(chance=st.data())
def test_a_wrong_value_anywhere_in_a_stream_raises_nothing_else(
    dialect: Dialect, sample: Path, chance: st.DataObject
) -> None:
    lines = sample.read_bytes().split(b"\n")
    at = chance.draw(st.sampled_from([at for at, line in enumerate(lines) if line.startswith(b"data: {")]))
    lines[at] = b"data: " + orjson.dumps(_disturbed(orjson.loads(lines[at][6:]), chance))
    with suppress(UpstreamError):
        orjson.dumps(story(heard(dialect, [b"\n".join(lines)])))


def _disturbed(value: Any, chance: st.DataObject) -> Any:
    """The same, with one value somewhere replaced by another, or taken out."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    if not inside or chance.draw(st.integers(0, 5)) == 0:
        return chance.draw(json_values)
    place, inner = chance.draw(st.sampled_from(inside))
    changed = copy.copy(value)
    if chance.draw(st.integers(0, 9)) == 0:
        del changed[place]
    else:
        changed[place] = _disturbed(inner, chance)
    return changed


@every_dialect
@given(status=st.integers(201, 599), body=st.binary() | json_values.map(orjson.dumps))
def test_a_refusal_can_always_be_told(dialect: Dialect, status: int, body: bytes) -> None:
    failed = dialect.refusal(UpstreamReply(status, (), body))
    assert isinstance(failed, UpstreamError)
    assert failed.status >= 400
    orjson.dumps(failed.envelope())


@every_dialect
@given(depth=st.integers(1, 1000), key=st.sampled_from(["error", "detail", "message", "errors"]))
def test_even_a_refusal_that_is_all_wrapping(dialect: Dialect, depth: int, key: str) -> None:
    body = (b'{"' + key.encode() + b'":') * depth + b"1" + b"}" * depth
    assert isinstance(dialect.refusal(UpstreamReply(400, (), body)), UpstreamError)


@every_dialect
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_asking_leaves_the_question_as_it_was_and_asks_the_same_each_time(dialect: Dialect, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "tide_table", "parameters": {"type": "object", "properties": {}}}}
    body = {
        "model": "tide",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When is high water?"}],
        "tools": [tool],
        "temperature": 0.5,
        "stream": stream,
    }
    call = Call("1", "chat", "tide", stream, False, body)
    before = copy.deepcopy(body)
    assert dialect.ask(call, TARGET) == dialect.ask(call, TARGET)
    assert body == before
