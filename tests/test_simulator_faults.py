"""Each fault does what it says, and the account says what was done."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import openai as sdk
import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import read
from gateway.simulator.http import Grammar, Reply
from gateway.simulator.script import End, Step, Write, head
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

WORDS = "one two three four five six seven eight"
TOKENS = 2 + 8
"""`You said:` and the words."""


def question(**fields: Any) -> Json:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": WORDS}], **fields}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@asynccontextmanager
async def sent(simulator: Simulator, fault: str, **fields: Any) -> AsyncIterator[asyncio.StreamReader]:
    """A request on a connection of its own, and what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    body = orjson.dumps(question(**fields))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-simulate-fault: {fault}\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        async with asyncio.timeout(5):
            yield reader
    finally:
        writer.transport.abort()


async def raw(simulator: Simulator, fault: str, **fields: Any) -> bytes:
    """Every byte of an answer, until its connection is closed."""
    async with sent(simulator, fault, **fields) as reader:
        return await reader.read()


async def until_silence(simulator: Simulator, fault: str, expected: bytes, **fields: Any) -> bytes:
    """What comes before an answer stalls. The connection stays open until we leave it."""
    answer = b""
    async with sent(simulator, fault, **fields) as reader:
        while expected not in answer:
            answer += await reader.read(1 << 16)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while more := await reader.read(1 << 16):
                    answer += more
        assert not reader.at_eof()
    return answer


async def ask(simulator: Simulator, fault: str, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=5, verify=PLAIN) as client:
        headers = {"x-simulate-fault": fault}
        return await client.post(f"{simulator.url}/chat/completions", json=question(**fields), headers=headers)


def contents(stream: bytes) -> int:
    """How many chunks carry text. The opening one has a role before its content."""
    return stream.count(b'"delta":{"content":')


# Statuses


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 529])
async def test_a_status_can_be_asked_for(simulator: Simulator, status: int) -> None:
    answer = await ask(simulator, str(status))
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert simulator.served == []


async def test_any_error_can_ask_to_wait(simulator: Simulator) -> None:
    answer = await ask(simulator, "503, retry-after:7")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert "retry-after" not in (await ask(simulator, "503")).headers


@pytest.mark.parametrize(("type", "kind"), [("anthropic", "invalid_request_error"), ("bedrock", "ValidationException")])
async def test_a_status_without_words_of_its_own_still_says_whose_fault_it_is(type: str, kind: str) -> None:
    async with Simulator(read(fail=["422"]), type=type) as simulator, httpx.AsyncClient(verify=PLAIN) as client:
        answer = await client.post(f"{simulator.url}/x", json={})
    assert answer.status_code == 422
    assert kind in answer.text + answer.headers.get("x-amzn-errortype", "")


async def test_a_rate_limit_says_when_to_come_back(simulator: Simulator) -> None:
    answer = await ask(simulator, "429, retry-after:7")
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-ratelimit-reset-requests"] == "7s"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("insufficient-quota", 429, "insufficient_quota"),
        ("context-length", 400, "context_length_exceeded"),
        ("content-filter", 400, "content_filter"),
    ],
)
async def test_particular_refusals_have_names(simulator: Simulator, fault: str, status: int, code: str) -> None:
    answer = await ask(simulator, fault)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_the_official_sdk_knows_the_errors(simulator: Simulator) -> None:
    simulator.faults = read(fail=["429"])
    async with sdk.AsyncOpenAI(base_url=simulator.url, api_key="k", max_retries=0) as client:
        with pytest.raises(sdk.RateLimitError):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


async def outcomes(seed: int) -> list[int]:
    async with (
        Simulator(read(fail=["429:0.2", "503:0.3"]), seed=seed) as simulator,
        httpx.AsyncClient(verify=PLAIN) as client,
    ):
        url = f"{simulator.url}/chat/completions"
        return [(await client.post(url, json=question())).status_code for _ in range(200)]


async def test_a_share_of_requests_fails_the_same_ones_for_a_seed() -> None:
    first = await outcomes(seed=1)
    assert 20 <= first.count(429) <= 60
    assert 40 <= first.count(503) <= 80
    assert await outcomes(seed=1) == first
    assert await outcomes(seed=2) != first


# Connections


async def test_reset_is_a_reset(simulator: Simulator) -> None:
    async with sent(simulator, "reset") as reader:
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_close_is_an_end_without_an_answer(simulator: Simulator) -> None:
    assert await raw(simulator, "close") == b""


async def test_silent_is_no_answer_until_the_client_leaves(simulator: Simulator) -> None:
    assert await until_silence(simulator, "silent", b"") == b""
    await simulator.until(lambda: len(simulator.hangups) == 1)


async def test_not_http_is_not_http(simulator: Simulator) -> None:
    answer = await raw(simulator, "not-http")
    assert answer
    assert not answer.startswith(b"HTTP/")


async def test_half_a_head_ends_within_it(simulator: Simulator) -> None:
    answer = await raw(simulator, "half-head")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in answer


async def test_no_body_is_a_head_and_silence(simulator: Simulator) -> None:
    assert (await until_silence(simulator, "no-body", b"\r\n\r\n")).endswith(b"\r\n\r\n")
    await simulator.until(lambda: len(simulator.hangups) == 1)


# Bodies

WHOLE = {"stream": False}
STREAM = {"stream": True}
either = pytest.mark.parametrize("how", [WHOLE, STREAM], ids=["whole", "stream"])


@either
async def test_html_is_a_page_with_status_200(simulator: Simulator, how: Json) -> None:
    answer = await ask(simulator, "html", **how)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<html>" in answer.text


@either
@pytest.mark.parametrize(("fault", "body"), [("empty", b""), ("null", b"null")])
async def test_a_body_may_say_nothing(simulator: Simulator, fault: str, body: bytes, how: Json) -> None:
    answer = await ask(simulator, fault, **how)
    assert (answer.status_code, answer.content) == (200, body)


@either
async def test_bad_framing_is_a_chunk_without_a_length(simulator: Simulator, how: Json) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(simulator, "bad-framing", **how)


@either
async def test_bad_coding_is_no_gzip(simulator: Simulator, how: Json) -> None:
    with pytest.raises(httpx.DecodingError):
        await ask(simulator, "bad-coding", **how)


@either
async def test_an_error_may_come_with_status_200(simulator: Simulator, how: Json) -> None:
    answer = await ask(simulator, "error-in-200", **how)
    assert (answer.status_code, answer.json()["error"]["type"]) == (200, "server_error")
    assert simulator.served == []


async def test_garbage_is_no_json(simulator: Simulator) -> None:
    answer = await ask(simulator, "garbage")
    assert answer.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)


async def test_garbage_in_a_stream_is_one_event_of_it(simulator: Simulator) -> None:
    frames = (await ask(simulator, "garbage", stream=True)).content.split(b"\n\n")
    assert [frame for frame in frames if b"\xff\xfe" in frame] == [b'data: \xff\xfe{"choices": [NaN, \x00']
    assert frames[-2:] == [b"data: [DONE]", b""]


@either
async def test_truncated_json_comes_in_sound_http(simulator: Simulator, how: Json) -> None:
    answer = await ask(simulator, "truncated-json", **how)
    last = answer.content.split(b"\n\n")[-1].removeprefix(b"data: ")
    assert last.startswith(b"{")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(last)
    assert simulator.served[0].cut


# Streams


async def test_an_error_in_a_stream_ends_it(simulator: Simulator) -> None:
    answer = await ask(simulator, "error-in-stream", stream=True)
    frames = answer.content.split(b"\n\n")
    assert orjson.loads(frames[-2].removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert contents(answer.content) == TOKENS // 2
    assert (simulator.served[0].cut, simulator.served[0].completion_tokens) == (True, TOKENS // 2)


@pytest.mark.parametrize("after", [0, 3])
async def test_an_error_comes_after_as_much_output_as_asked_for(simulator: Simulator, after: int) -> None:
    answer = await ask(simulator, f"error-after:{after}", stream=True)
    assert answer.content.endswith(b'"code":null}}\n\n')
    assert simulator.served[0].completion_tokens == after


async def test_no_done_is_a_stream_without_its_full_stop(simulator: Simulator) -> None:
    answer = await ask(simulator, "no-done", stream=True)
    assert b'"finish_reason":"stop"' in answer.content
    assert b"[DONE]" not in answer.content
    assert simulator.served[0].cut


@pytest.mark.parametrize("after", [0, 1, 4, TOKENS])
async def test_a_stream_is_cut_after_so_many_chunks(simulator: Simulator, after: int) -> None:
    answer = await raw(simulator, f"cut-after:{after}", stream=True)
    assert (answer.count(b'"role":"assistant"'), contents(answer)) == (1, after)
    assert b'"finish_reason":"stop"' not in answer
    assert not answer.endswith(b"0\r\n\r\n")
    served = simulator.served[0]
    assert (served.completion_tokens, served.cut, served.client_left) == (after, True, False)


async def test_a_stream_that_is_cut_before_its_first_event_has_a_head() -> None:
    async with Simulator(read(cut_after=0), type="gemini") as simulator, httpx.AsyncClient(verify=PLAIN) as client:
        body = {"contents": [{"parts": [{"text": WORDS}]}]}
        url = f"{simulator.url}/models/m:streamGenerateContent?alt=sse&key=k"
        async with client.stream("POST", url, json=body) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        assert simulator.served[0].cut


async def test_a_stream_that_is_shorter_than_the_cut_is_complete(simulator: Simulator) -> None:
    answer = await raw(simulator, f"cut-after:{TOKENS + 1}", stream=True)
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert not simulator.served[0].cut


async def test_a_whole_answer_is_cut_in_its_middle(simulator: Simulator) -> None:
    head, _, body = (await raw(simulator, "cut-after:1")).partition(b"\r\n\r\n")
    promised = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised
    assert (simulator.served[0].cut, simulator.served[0].completion_tokens) == (True, 0)


async def test_a_stream_stalls_after_so_many_chunks(simulator: Simulator) -> None:
    answer = await until_silence(simulator, "stall-after:2", b" said:", stream=True)
    assert b'"content":"You"' in answer
    await simulator.until(lambda: bool(simulator.served))
    served = simulator.served[0]
    assert (served.completion_tokens, served.cut, served.client_left) == (2, True, True)


async def test_a_whole_answer_stalls_in_its_middle(simulator: Simulator) -> None:
    assert b'"object": "chat.completion"' in await until_silence(
        simulator, "stall-after:0", b'"object": "chat.completion"'
    )


# What has no name


async def test_a_reply_can_be_written_in_any_way() -> None:
    def briefly(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        yield Write(head(reply, b"content-length: 2"))
        yield Write(b"hi")
        yield End.COMPLETE

    async with Simulator(play=briefly) as simulator:
        assert (await ask(simulator, "none")).text == "hi"
        simulator.play = None
        assert "You said:" in (await ask(simulator, "none")).text


async def test_it_is_known_who_waits_for_the_end_of_an_answer(simulator: Simulator) -> None:
    async with sent(simulator, "silent"):
        await simulator.until(lambda: simulator.busy == 1)
    await simulator.until(lambda: simulator.busy == 0)


# Time


async def test_delays_are_kept(simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    async with sent(simulator, "first-token-delay:50ms, chunk-delay:5ms", stream=True) as reader:
        await reader.readuntil(b'"role":"assistant"')
        first = loop.time()
        await reader.read()
    assert first - asked >= 0.049
    assert loop.time() - first >= 0.005 * TOKENS


@pytest.mark.parametrize("coalesce", [0, 1, 16 * 1024])
async def test_how_frames_are_joined_changes_no_frame(coalesce: int) -> None:
    async with Simulator(coalesce=coalesce) as simulator:
        answer = await ask(simulator, "none", stream=True)
    assert contents(answer.content) == TOKENS
    assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_leaves_is_seen_at_once(simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    async with sent(simulator, "chunk-delay:1m", stream=True) as reader:
        await reader.readuntil(b'"role":"assistant"')
    left = loop.time()
    await simulator.until(lambda: bool(simulator.hangups))
    assert abs(simulator.hangups[0] - left) < 1
    served = simulator.served[0]
    assert (served.client_left, served.cut, served.completion_tokens) == (True, False, 0)


async def test_a_slow_reader_is_waited_for(simulator: Simulator) -> None:
    """The socket's buffers are small, so most of the answer has to wait until it is read."""
    body = orjson.dumps(question(stream=True) | {"messages": [{"role": "user", "content": "word " * 20_000}]})
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", simulator.port))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        await loop.sock_sendall(slow, head % len(body) + body)
        await simulator.until(lambda: simulator.received == 1)
        assert simulator.served == []
        answer = b""
        async with asyncio.timeout(20):
            while data := await loop.sock_recv(slow, 1 << 20):
                answer += data
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert simulator.served[0].completion_tokens == 20_003


async def test_a_header_that_makes_no_sense_is_refused(simulator: Simulator) -> None:
    answer = await ask(simulator, "resett")
    assert answer.status_code == 400
    assert "did you mean `reset`?" in answer.json()["error"]["message"]
