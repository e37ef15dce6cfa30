"""The usage record: written as a line, and read back from whatever is found in a file."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace

from gateway.core.call import Call, Target
from gateway.core.events import Usage
from gateway.core.record import FIELDS, MOST_COST, MOST_TOKENS, TEXT, Attempt, Record, read, sound
from gateway.engine.entry import Entry
from gateway.sinks.records import record
from tests.stores.books import ONE

numbers = st.none() | st.integers() | st.floats(allow_nan=False) | st.just(float("inf")) | st.booleans()
json = st.recursive(numbers | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def said(**strange: Any) -> list[Any]:
    """What stands in a line for the fields of `ONE`, some of which are strange."""
    return to_builtins(replace(ONE, **strange))[1:]  # type: ignore[no-any-return]


def test_a_record_comes_back_from_its_line_as_it_was() -> None:
    assert read(ONE.line()) == ONE


def test_a_record_is_one_line() -> None:
    assert replace(ONE, end_user="two\nlines\r\u2028").line().count(b"\n") == 1
    assert ONE.line().endswith(b"]\n")


def test_a_cost_that_is_not_known_is_not_nothing() -> None:
    assert read(replace(ONE, cost_micros=None).line()).cost_micros is None
    assert read(replace(ONE, cost_micros=0).line()).cost_micros == 0


def test_fields_of_a_later_version_are_left_out() -> None:
    _, *said = orjson.loads(ONE.line())
    assert read(orjson.dumps([2, *said, "search"])) == ONE


def test_a_line_says_its_version() -> None:
    assert orjson.loads(ONE.line())[0] == 1


@pytest.mark.parametrize(
    ("field", "hostile", "held"),
    [
        ("input_tokens", 10**30, MOST_TOKENS),
        ("output_tokens", -5, 0),
        ("cost_micros", 10**40, MOST_COST),
        ("cost_micros", -1, 0),
        ("latency_ms", float("inf"), 10**9),
        ("latency_ms", -3.0, 0.0),
        ("end_user", "a\0b", "ab"),
        ("end_user", "x" * 1000, "x" * TEXT),
        ("end_user", "half \ud800", "half ?"),
    ],
)
def test_hostile_values_are_bounded(field: str, hostile: Any, held: object) -> None:
    assert getattr(sound(said(**{field: hostile})), field) == held


@pytest.mark.parametrize("hostile", [{"end_user": "half \ud800"}, {"input_tokens": 10**30}])
def test_no_value_keeps_a_record_from_being_written(hostile: dict[str, Any]) -> None:
    assert read(replace(ONE, **hostile).line()).id == "one"


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"\0\0\0", b"[1]", b'"text"', b'["1"' + ONE.line()[2:], ONE.line()[:-20], b"{}"]
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read(line)


def test_a_record_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="without an id"):
        read(replace(ONE, id="").line())


@given(st.dictionaries(st.sampled_from(FIELDS), json))
def test_whatever_stands_in_a_line_is_a_sound_record_or_refused(strange: dict[str, Any]) -> None:
    try:
        record = sound(said(**strange))
    except ValueError:
        return
    assert read(record.line()) == record


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), st.floats(0, 1e6)), max_size=40))
def test_every_attempt_is_kept_up_to_a_number(tried: list[tuple[str, str, str, float]]) -> None:
    kept = read(replace(ONE, attempts=tuple(Attempt(*each) for each in tried)).line()).attempts
    assert len(kept) == min(len(tried), 32)


def test_the_record_of_a_call_has_everything_in_its_place() -> None:
    call = Call("req_1", "chat", "alias", True, False, {"user": "someone"})
    entry = Entry("req_1", "chat", 10.0, 1.5, "req_1:2", "app", "public", call, Target("acme", "own-name", {}))
    entry.status, entry.outcome, entry.cost = 200, "truncated", 42
    entry.usage, entry.usage_source = Usage(50, 40, 30, 20, 10), "estimated"
    entry.ended, entry.first_token, entry.waited = 14.0, 11.0, 2.5
    entry.begin(Target("acme", "own-name", {}), 10.5)
    entry.note("ok", 12.5)
    assert record(entry) == Record(
        id="req_1:2",
        time=1500,
        key="app",
        end_user="someone",
        endpoint="chat",
        model="public",
        provider="acme",
        upstream_model="own-name",
        status=200,
        outcome="truncated",
        stream=True,
        input_tokens=50,
        output_tokens=40,
        cache_read_tokens=30,
        cache_write_tokens=20,
        reasoning_tokens=10,
        usage_source="estimated",
        cost_micros=42,
        latency_ms=4000.0,
        first_token_ms=1000.0,
        overhead_ms=1500.0,
        attempts=(Attempt("acme", "own-name", "ok", 2000.0),),
    )


def test_a_call_that_waited_for_all_of_its_time_and_more_has_no_overhead() -> None:
    entry = Entry("req_1", "chat", 10.0, 1.5)
    entry.ended, entry.waited = 12.0, 2.5
    assert record(entry).overhead_ms == 0.0
