"""What servers say when they refuse, beyond what `test_openai_answers` tells of it: no words make reading them fail."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure
from gateway.dialects.refusals import by_status, by_words, duration, error_in, message_of, read, retry_after

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "detail", "message", "msg", "details"]), inner, max_size=3
        )
    ),
)


@given(JSON | st.binary().map(read))
def test_whatever_a_server_says_there_is_an_object_to_look_into_and_a_text(body: Any) -> None:
    error = error_in(body)
    assert isinstance(error, dict)
    assert isinstance(message_of(error), str)


ERROR = {"message": "no tide", "code": "ebb"}


@pytest.mark.parametrize(
    "body",
    [ERROR, {"error": ERROR}, [{"error": ERROR}], {"errors": [ERROR]}, {"detail": [ERROR]},
     {"message": {"detail": [ERROR]}}, {"message": "no", "error": ERROR}],
)  # fmt: skip
def test_an_error_is_found_in_any_of_its_wrappings(body: Any) -> None:
    assert error_in(read(orjson.dumps(body))) == ERROR


def test_what_is_wrapped_without_end_says_nothing() -> None:
    body: Any = {"message": "no tide"}
    for _ in range(20):
        body = {"error": body}
    assert message_of(error_in(body)) == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><TITLE>\n502  Bad Gateway</TITLE></head>", "502 Bad Gateway"),
        (b"upstream connect error\r\n", "upstream connect error"),
        (b"\xff\xfe", "��"),
        (b"", ""),
        (b'"no tide"', "no tide"),
        (b'{"error": "no tide"}', "no tide"),
        (b'{"detail": [{"msg": "no tide", "loc": ["body"]}]}', "no tide"),
        (b'{"title": "no tide"}', "no tide"),
        (b'{"error": {"message": ""}}', ""),
    ],
)
def test_the_words_are_found_in_a_page_a_text_or_an_object(body: bytes, words: str) -> None:
    assert message_of(error_in(read(body))) == words


@given(st.integers(0, 999))
def test_every_status_means_something(status: int) -> None:
    failure = by_status(status)
    if status < 400:
        assert failure is Failure.MALFORMED
    elif 400 <= status < 500:
        assert failure not in (Failure.MALFORMED, Failure.OVERLOADED)


@pytest.mark.parametrize(
    ("status", "words", "meant"),
    [
        (400, "prompt is too long: 210000 tokens > 200000 maximum", Failure.CONTEXT_TOO_LONG),
        (400, "The input token count (1048577) exceeds the maximum number of tokens", Failure.CONTEXT_TOO_LONG),
        (413, "Too many input tokens", Failure.CONTEXT_TOO_LONG),
        (404, "model: claude-0 not found", Failure.MODEL_MISSING),
        (404, "tools is not supported in this model", Failure.REJECTED),
        (400, "temperature must be at most 2", None),
        (401, "prompt is too long", None),
        (429, "prompt is too long", None),
    ],
)
def test_words_decide_only_where_the_status_leaves_it_open(status: int, words: str, meant: Failure | None) -> None:
    assert by_words(status, words) is meant


def waiting(header: bytes, value: bytes) -> float | None:
    return retry_after(UpstreamReply(429, ((header, value),), b""), None, Failure.RATE_LIMITED)


@pytest.mark.parametrize("header", [b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-tokens"])
@pytest.mark.parametrize("value", [b"1e308", b"9" * 400, b"9" * 5000 + b"s", b"infinity", b"nan", b"-inf"])
def test_a_number_without_measure_is_no_time_to_wait(header: bytes, value: bytes) -> None:
    assert waiting(header, value) is None


@given(st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-requests"]), st.floats() | st.integers())
def test_a_wait_is_never_negative_and_can_be_counted_in_milliseconds(header: bytes, value: float) -> None:
    wait = waiting(header, str(value).encode())
    assert wait is None or (wait >= 0 and int(wait * 1000) >= 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"6m0s", 360), (b"1h2m3.5s", 3723.5), (b"12ms", 0.012), (b"7", 7), (b"-1", None), (b"1x", None), (b"", None)],
)
def test_a_duration_is_read_as_go_writes_it_or_as_seconds(text: bytes, seconds: float | None) -> None:
    assert duration(text) == (pytest.approx(seconds) if seconds is not None else None)


@given(st.binary(max_size=20))
def test_no_text_makes_reading_a_duration_fail(text: bytes) -> None:
    seconds = duration(text)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("header", [b"retry-after", b"retry-after-ms"])
def test_who_cannot_pay_is_not_helped_by_waiting(header: bytes) -> None:
    assert retry_after(UpstreamReply(429, ((header, b"1"),), b""), None, Failure.BILLING) is None
