from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

import orjson
import pytest
from msgspec import to_builtins

from gateway.core.call import Call, Json, Target
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Usage
from gateway.engine.entry import Entry
from gateway.policy.estimate import Estimates
from gateway.sinks.logs import Logs, Writer, call
from gateway.wire.trace_context import Trace

RECORD = {
    "id", "time", "key", "end_user", "endpoint", "model", "provider", "upstream_model", "status", "outcome", "stream",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
    "latency_ms", "first_token_ms", "overhead_ms", "attempts",
}  # fmt: skip

PROMPT = "the-secret-plans"


def settled() -> Entry:
    """A call that one provider refused and another one served."""
    body = {"messages": [{"role": "user", "content": PROMPT}], "user": "u" * 500}
    call = Call("req_1", "chat", "asked", True, False, body)
    entry = Entry("req_1", "chat", 10.0, 1e9, key="app", model="m", call=call, target=Target("p", "up", {}), status=200)
    refused = UpstreamError(Failure.CREDENTIALS, f"bad key for {PROMPT}", status=401, code="invalid_api_key")
    entry.begin(Target("q", "x", {}), 10)
    entry.note(refused.failure, 10.5, refused.noted)
    entry.begin(Target("p", "up", {}), 10.5)
    entry.note("ok", 11)
    entry.usage, entry.first_token = Usage(7, 5), 10.9
    entry.settle(12.0, Estimates())
    return entry


@pytest.fixture
def pipe() -> tuple[int, Callable[[], bytes]]:
    """A descriptor to write to, and what has been written to it by the end."""
    reading, writing = os.pipe()

    def written() -> bytes:
        os.close(writing)
        with os.fdopen(reading, "rb") as everything:
            return everything.read()

    return writing, written


def lines(written: bytes) -> list[Json]:
    return [orjson.loads(line) for line in written.splitlines()]


def told_of(entry: Entry) -> Json:
    told: Json = to_builtins(call(entry))
    return told


def test_the_line_of_a_call_is_its_usage_record() -> None:
    told = told_of(settled())
    assert set(told) >= RECORD
    assert (told["input_tokens"], told["output_tokens"], told["usage_source"]) == (7, 5, "reported")
    assert (told["latency_ms"], told["first_token_ms"]) == (2000.0, 900.0)
    assert [each["outcome"] for each in told["attempts"]] == ["credentials", "ok"]


def test_a_line_never_holds_a_prompt() -> None:
    assert PROMPT not in str(told_of(settled()))


def test_of_a_providers_refusal_status_and_code_are_told() -> None:
    assert told_of(settled())["attempts"][0]["said"] == "status 401 invalid_api_key"


def test_a_long_user_field_is_cut() -> None:
    assert len(told_of(settled())["end_user"]) == 256


def line_of(entry: Entry, pipe: tuple[int, Callable[[], bytes]]) -> bytes:
    fd, written = pipe
    writer = Writer(fd)
    Logs(writer, lambda: 1e9, human=False)(entry)
    writer.close()
    return written()


def test_the_words_of_a_line_stand_in_the_order_that_readers_know(pipe: tuple[int, Callable[[], bytes]]) -> None:
    entry = settled()
    entry.call, entry.cost, entry.waited = None, 1_250_000, 1.5
    assert line_of(entry, pipe) == (
        b'{"time":"2001-09-09T01:46:40.000Z","level":"info","event":"call","id":"req_1","key":"app","end_user":"",'
        b'"endpoint":"chat","model":"m","provider":"p","upstream_model":"up","status":200,"outcome":"ok","stream":false,'
        b'"input_tokens":7,"output_tokens":5,"cache_read_tokens":0,"cache_write_tokens":0,"reasoning_tokens":0,'
        b'"usage_source":"reported","cost_usd":1.25,"latency_ms":2000.0,"first_token_ms":900.0,"overhead_ms":500.0,'
        b'"attempts":[{"provider":"q","model":"x","outcome":"credentials","ms":500.0,'
        b'"said":"status 401 invalid_api_key"},{"provider":"p","model":"up","outcome":"ok","ms":500.0}]}\n'
    )


def test_what_not_every_call_has_stands_at_the_end_of_its_line(pipe: tuple[int, Callable[[], bytes]]) -> None:
    entry = settled()
    entry.tried, entry.trace = [], Trace(10, 1, False, lambda: 2)
    entry.failed(UpstreamError(Failure.IDLE_TIMEOUT, "silent"))
    trace_id = b"0000000000000000000000000000000a"
    assert line_of(entry, pipe).endswith(b'"attempts":[],"trace_id":"' + trace_id + b'","error":"upstream_timeout"}\n')


@pytest.mark.parametrize(("time", "spelt"), [(0.0, "00.000Z"), (7.007, "07.007Z"), (59.9996, "59.999Z")])
def test_the_time_of_a_call_is_told_to_the_millisecond(time: float, spelt: str) -> None:
    entry = settled()
    entry.time = time
    assert told_of(entry)["time"] == f"1970-01-01T00:00:{spelt}"


def test_json_lines_come_one_per_call(pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    logs = Logs(writer, lambda: 1e9, human=False)
    logs(settled())
    logs.event("info", "ready", address="x")
    writer.close()
    first, second = lines(written())
    assert first["event"] == "call"
    assert second == {"time": "2001-09-09T01:46:40.000Z", "level": "info", "event": "ready", "address": "x"}


def test_a_terminal_gets_text_with_the_trail_of_attempts(pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    Logs(writer, lambda: 1e9, human=True)(settled())
    writer.close()
    text = written().decode()
    assert "m -> p" in text
    assert "7+5 tokens" in text
    assert "after credentials" in text
    assert "{" not in text


async def test_lines_written_under_a_running_loop_arrive_by_themselves() -> None:
    reading, writing = os.pipe()
    writer = Writer(writing)
    Logs(writer, lambda: 1e9, human=False).event("info", "hello")
    got = await asyncio.get_running_loop().run_in_executor(None, os.read, reading, 1000)
    assert orjson.loads(got)["event"] == "hello"
    writer.close()
    os.close(reading)
    os.close(writing)


async def test_a_reader_that_has_left_does_not_disturb_anyone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = Writer(writing)
    for _ in range(10):
        writer.line(b"nobody reads this")
    writer.close()
    os.close(writing)


def test_a_library_that_logs_is_heard_in_the_same_form(pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    logger = logging.getLogger("uvicorn.error")
    logs = Logs(writer, lambda: 1e9, human=False)
    logger.addHandler(logs)
    logger.warning("odd %s", "thing")
    logger.removeHandler(logs)
    writer.close()
    (line,) = lines(written())
    assert (line["level"], line["event"], line["message"]) == ("warning", "uvicorn.error", "odd thing")


def test_a_defect_tells_where_and_not_with_what(pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    try:
        raise ValueError(PROMPT)
    except ValueError as error:
        Logs(writer, lambda: 1e9, human=False).crashed("req_1", error)
    writer.close()
    output = written()
    (line,) = lines(output)
    assert (line["event"], line["error"], line["id"]) == ("defect", "ValueError", "req_1")
    assert "test_logs.py" in line["where"][0]
    assert PROMPT.encode() not in output


def test_what_a_library_has_caught_of_us_tells_where_and_not_with_what(pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    logger, logs = logging.getLogger("asyncio"), Logs(writer, lambda: 1e9, human=False)
    logger.addHandler(logs)
    try:
        raise ValueError(PROMPT)
    except ValueError as error:
        logger.exception("Task exception was never retrieved\nfuture: <Task exception=%r>", error)
    logger.removeHandler(logs)
    writer.close()
    output = written()
    (line,) = lines(output)
    assert (line["message"], line["error"]) == ("Task exception was never retrieved", "ValueError")
    assert "test_logs.py" in line["where"][0]
    assert PROMPT.encode() not in output


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\x9b2J", "\u202eabc", "\ud800", "\u2028"])
def test_no_name_can_begin_a_line_or_paint_the_terminal(name: str, pipe: tuple[int, Callable[[], bytes]]) -> None:
    fd, written = pipe
    writer = Writer(fd)
    Logs(writer, lambda: 1e9, human=True).event("warning", "odd", who=f"{name} é")
    writer.close()
    told = written().decode()
    assert told.endswith(" é\n")
    assert told[:-1].isprintable()
