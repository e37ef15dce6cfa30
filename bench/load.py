"""The load: many connections, each asking again as soon as it has its answer, and every answer checked.

Run as a process of its own, by `start`: `python -m bench.load JOB`, where JOB is a `Job` as JSON. It prints an
`Outcome` as JSON.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.process import other_cores, spawn
from bench.said import ANSWER, text_of

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
PROMPT = "Pack my box with five dozen liquor jugs. " * 44
LONGEST = 90.0
"""Seconds after which a load is given up: far more than any takes that works."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to ask of the server at `port`: for some `seconds`, or so many `requests` in all."""

    port: int
    concurrency: int
    seconds: float = LONGEST
    requests: int = sys.maxsize
    chunks: int = 0
    """How many chunks each answer is streamed in; 0 asks for whole answers."""
    model: str = "brisk"


@dataclass(slots=True)
class Outcome:
    requests: int = 0
    """Answers that came whole and right."""
    failures: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    """How often a socket had something to read: as often as a chunk was sent, if none were joined on the way."""
    most_open: int = 0
    """The most answers that had begun and not ended at any one time."""
    p50: float = 0.0
    p99: float = 0.0
    """Seconds from a request's first byte to the last of its answer."""


def start(job: Job) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.load", orjson.dumps(asdict(job)).decode()]
    return spawn(command, cores=other_cores(), output=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> Outcome:
    """Waits for a load's end. Raises RuntimeError where one answer was wrong: such a run measures nothing."""
    printed, _ = process.communicate(timeout=2 * LONGEST)
    if process.returncode:
        raise RuntimeError("the load broke down, and said why above")
    outcome = Outcome(**orjson.loads(printed))
    if outcome.failures or not outcome.requests:
        raise RuntimeError(f"{outcome.requests} requests went well, and these did not: {outcome.failures}")
    return outcome


def run(job: Job) -> Outcome:
    return finish(start(job))


def request_bytes(job: Job) -> bytes:
    """A request of about 2 KB, as a client's library sends it."""
    messages = [{"role": "system", "content": "You are a careful typist."}, {"role": "user", "content": PROMPT}]
    body: dict[str, Any] = {
        "model": job.model,
        "messages": messages,
        "temperature": 0.2,
        "max_tokens": job.chunks or 256,
    }
    if job.chunks:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = orjson.dumps(body)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\nauthorization: Bearer {KEY}\r\n"
        "content-type: application/json\r\naccept: application/json\r\nuser-agent: bench\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def streamed_text(body: bytes) -> str:
    """What a stream said. Raises ValueError where it did not end as it should."""
    *events, last, rest = body.split(b"\n\n")
    if (last, rest) != (b"data: [DONE]", b""):
        raise ValueError("the stream has no end")
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def complaint(job: Job, status: int, body: bytes) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if status != 200:
        return f"status {status}: {body[:200].decode(errors='replace')}"
    try:
        said = streamed_text(body) if job.chunks else orjson.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError) as unreadable:
        return f"unreadable: {unreadable}"
    expected = "".join(map(text_of, range(job.chunks))) if job.chunks else ANSWER
    return "" if said == expected else "the text is not what was sent"


class Tally:
    """Hands out the requests of one job and collects what became of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.request = request_bytes(job)
        self.outcome = Outcome()
        self.open = 0
        self._until = time.perf_counter() + job.seconds
        self._asked = count(1)
        self._failures: Counter[str] = Counter()
        self._seconds: list[float] = []

    def another(self) -> bool:
        return time.perf_counter() < self._until and next(self._asked) <= self.job.requests

    def began(self) -> None:
        self.open += 1
        self.outcome.most_open = max(self.open, self.outcome.most_open)

    def ended(self, status: int, body: bytes, seconds: float) -> None:
        self.open -= 1
        self._seconds.append(seconds)
        if wrong := complaint(self.job, status, body):
            self.failed(wrong)
        else:
            self.outcome.requests += 1

    def failed(self, why: str) -> None:
        self._failures[why] += 1

    def total(self) -> Outcome:
        self.outcome.failures = dict(self._failures.most_common(3))
        if len(self._seconds) > 1:
            hundredths = statistics.quantiles(self._seconds, n=100, method="inclusive")
            self.outcome.p50, self.outcome.p99 = hundredths[49], hundredths[98]
        return self.outcome


class Client(asyncio.Protocol):
    """One connection, kept alive: asks, reads, checks, and asks again."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._asked_at = 0.0
        self._waiting = False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._waiting = self._tally.another()
        if not self._waiting:
            self._transport.close()
            return
        self._body.clear()
        self._asked_at = time.perf_counter()
        self._transport.write(self._tally.request)

    def data_received(self, data: bytes) -> None:
        self._tally.outcome.reads += 1
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._tally.began()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        seconds = time.perf_counter() - self._asked_at
        self._tally.ended(self._parser.get_status_code(), b"".join(self._body), seconds)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._tally.failed(f"the connection was lost: {exc}")
        self.closed.set_result(None)


async def drive(job: Job) -> Outcome:
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    connecting = [loop.create_connection(lambda: Client(tally), "127.0.0.1", job.port) for _ in range(job.concurrency)]
    clients = [client for _, client in await asyncio.gather(*connecting)]
    await asyncio.wait([client.closed for client in clients], timeout=LONGEST)
    if unfinished := sum(not client.closed.done() for client in clients):
        tally.failed(f"{unfinished} connections had no answer after {LONGEST:.0f} s")
    return tally.total()


if __name__ == "__main__":
    print(orjson.dumps(asdict(uvloop.run(drive(Job(**orjson.loads(sys.argv[1])))))).decode())
