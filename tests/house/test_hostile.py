"""Ten thousand requests of bad will, of bad luck and of neither: each gets the answer it deserves, and nothing grows.

Whatever is sent, the answer is never a 5xx and never silence; what is refused is refused in the envelope.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, islice, pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, gateway
from tests.house.test_protocol import UNREADABLE, Answer, Wire, wire

T = TypeVar("T")

REQUESTS = 10_000
CONNECTIONS = 8
MAX_BODY = 256 * 1024
ROUNDS = 4
"""All alike. The first fills what stays filled: pools, caches, the allocator's own reserves."""

GROWTH = 16 * 2**20
"""Bytes by which the process may grow in the best of the later rounds. A leak grows in each of them, by this much when
a request leaves 6 KB behind; the allocator's reserves may grow by tens of megabytes in any one of them."""

SEEN_UPSTREAM = re.compile(r"/v1/chat/completions|/openai/deployments/[^/?#]+/chat/completions\?api-version=2024-10-21")
"""All that a client can bring the gateway to ask a provider."""


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes to send, and the statuses of the answers that must come; none where the client leaves without waiting."""

    raw: bytes
    statuses: tuple[int, ...] = (400,)
    last: bool = False
    """Whether the connection is of no more use to the client afterwards."""


Family = Callable[[Random], Case]

# Spelling requests

MESSAGES = [{"role": "user", "content": "hello"}]
AUTHORIZED = b"Authorization: Bearer " + KEY.encode()
JSON_TYPE = b"Content-Type: application/json"
HOST = b"Host: localhost"
CHAT = b"/v1/chat/completions"


def http(
    body: bytes = b"",
    *headers: bytes,
    method: bytes = b"POST",
    target: bytes = CHAT,
    version: bytes = b"HTTP/1.1",
    usual: tuple[bytes, ...] = (HOST, AUTHORIZED, JSON_TYPE),
) -> bytes:
    """A request whose length is told as it is."""
    lines = [b" ".join((method, target, version)), *usual, *headers]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return http(b"")[: -len(b"Content-Length: 0\r\n\r\n")] + b"Transfer-Encoding: chunked\r\n\r\n" + framed


def drawn_from(table: Mapping[int, Sequence[T]], request: Callable[[T], bytes]) -> Family:
    """Requests made of something in a table by the status that it deserves."""

    def family(random: Random) -> Case:
        status = random.choice(list(table))
        return Case(request(random.choice(table[status])), (status,))

    return family


def spelt(**fields: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": MESSAGES, **fields})


def with_field(name: str, value: str) -> bytes:
    """A good body with one more field, whose value is spelt here because no JSON writer would."""
    return spelt()[:-1] + f',"{name}":{value}}}'.encode()


GOOD = http(spelt())
ORDINARY = [GOOD, chunked(spelt(), 7), http(spelt(stream=True))]
ordinary = drawn_from({200: ORDINARY}, bytes)

# Bodies


def cut_short(random: Random) -> Case:
    body = spelt(metadata={"a": ["b", 1.5, True, None]})
    return Case(http(body[: random.randrange(len(body))]))


NOT_JSON = [
    b"null", b"true", b"7", b'"x"', b"[]", b"NaN", b"{,}", b"{'a': 1}", b"{} {}", b"{}x", b"/**/{}", b"{a: 1}",
    b'{"a": 01}', b'{"a": +1}', b'{"a": .5}', b'{"a": 0x10}', b'{"a": "\t"}', b'{"a": "\\x"}', b'{"a": "\\ud800"}',
    b'{"a": "\xff"}', b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), b"\x1f\x8b\x08\x00", b"a=b&c=d", b"{}\0",
]  # fmt: skip


def nested(random: Random) -> Case:
    depth = random.choice([10, 90, 101, 250, 255, 1000, 1025, 10_000, 100_000])
    left, right = random.choice([("[", "]"), ('{"a":', "}")])
    closed = random.choice([True, False])
    body = with_field("extra", left * depth + "1" + right * depth * closed)
    status = 413 if len(body) > MAX_BODY else 200 if depth < 100 and closed else 400
    return Case(http(body), (status,))


NUMBERS = ["temperature", "top_p", "frequency_penalty", "presence_penalty", "n", "max_tokens", "max_completion_tokens",
           "top_logprobs", "seed"]  # fmt: skip
UNBOUNDED = ["9223372036854775808", "18446744073709551616", "-9223372036854775809", "1e308", "-1e308", "1e999",
             "NaN", "Infinity", "-Infinity", "1" * 400, "--1", "1e", "0.1.2", "-2.000001"]  # fmt: skip


def huge_number(random: Random) -> Case:
    return Case(http(with_field(random.choice(NUMBERS), random.choice(UNBOUNDED))))


VALUES: dict[str, Any] = {
    "bool": True, "int": 777, "float": 0.5, "string": "x", "list": [1], "object": {"a": 1}, "null": None,
}  # fmt: skip
TAKES = {
    name: kinds.split()
    for kinds, names in {
        "bool null": "stream logprobs store",
        "int null": "max_tokens max_completion_tokens seed",
        "float null": "temperature top_p frequency_penalty presence_penalty",
        "string null": "reasoning_effort verbosity user stop service_tier",
        "object null": "metadata logit_bias",
        "null": "model n top_logprobs tools functions response_format modalities stream_options parallel_tool_calls",
        "": "messages",
    }.items()
    for name in names.split()
}
"""Which of these values are good for a field, all else in the request being as it is."""


def wrong_type(random: Random) -> Case:
    name, kind = random.choice(list(TAKES)), random.choice(list(VALUES))
    status = 200 if kind in TAKES[name] else 404 if (name, kind) == ("model", "string") else 400
    return Case(http(spelt(**{name: VALUES[kind]})), (status,))


NO_TALK: list[Any] = [
    [], {}, "", 0, [None], [[]], ["hi"], [{}], [{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": 1}],
    [{"role": "user", "content": [1]}], [{"role": "user", "content": [{"type": 1}]}], [{"role": "assistant"}],
    [{"role": "tool", "content": "x"}], [{"role": "assistant", "tool_calls": [{}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
]  # fmt: skip
NO_ROLES: list[Any] = ["root", "User", "", " user", "{{7*7}}", "user\0", "é" * 1000, None, 1, [], {}, True]


def no_conversation(random: Random) -> Case:
    strange = [{"role": random.choice(NO_ROLES), "content": "x"}]
    return Case(http(spelt(messages=random.choice([*NO_TALK, strange, MESSAGES + strange]))))


HARMLESS = [
    "{{7*7}}", "${jndi:ldap://127.0.0.1/a}", "'; DROP TABLE usage; --", "../../etc/passwd", "\u202e\ufeff\0\x1b",
    "%s%n", "<script>alert(1)</script>", "\U0001f600" * 5000, "a" * 20_000,
]  # fmt: skip
STEERING = ["api_base", "base_url", "api_key", "endpoint", "proxy", "provider", "extra_headers", "user_config"]


def text_that_is_only_text(random: Random) -> Case:
    """Nothing in a body is run, and nothing in it says where the call goes: that is for the configuration alone."""
    text = random.choice(HARMLESS)
    fields = {random.choice(STEERING): {"api_base": "http://127.0.0.1:9/"}, "user": text}
    return Case(http(spelt(messages=[{"role": "user", "content": text}], **fields)), (200,))


def oversized(random: Random) -> Case:
    if random.random() < 0.9:
        told = random.choice([MAX_BODY + 1, 2**31, 2**32 + 1, 2**63 - 1])
        return Case(http()[: -len(b"0\r\n\r\n")] + b"%d\r\n\r\n{" % told, (413,), last=True)
    return Case(chunked(b" " * (MAX_BODY + 1), 65_536), (413,))


MODELS = {
    200: ["m", "", "default", "any-x", "any-../../v1/models", "any-%2e%2e%2fmodels", "any-a?b#c", "any-{x}", "any-a b"],
    400: ["m\n", "m\r\nX-Injected: 1", "\0", "\x1b[31m", "m\u202e", "x" * 257, "x" * 10_000, "m\u2028"],
    404: ["x", "M", "*", "m*", "m ", "../..", "%2e%2e", "{model}", "{{7*7}}", "' OR 1=1 --", "m/../m", "模型",
          "é" * 256, "any-", "any-.", "any-.."],
}  # fmt: skip

# Heads

TARGETS = {
    200: [b"/chat/completions", b"/v1/chat/completions?model=x&api_key=y", b"/v1/chat/completions#x",
          b"/v1%2fchat/completions", b"http://elsewhere.example/v1/chat/completions",
          b"/openai/deployments/m/chat/completions", b"/openai/deployments/../../v1/chat/completions"],
    400: [b"/v1/chat/completions\0", b"/v1/ chat", b"v1/chat/completions", b"http://", b"\\v1\\chat"],
    404: [b"/", b"*", b"/%", b"/%ff%fe", b"//v1/chat/completions", b"/v1//chat/completions", b"/v1/./chat/completions",
          b"/v1/chat/completions/", b"/v1/chat/completions/.", b"/v1/chat/completions;a=b", b"/v1/chat/completions%00",
          b"/v1/chat/completions%0d%0a", b"/V1/Chat/Completions", b"/..%2f..%2fetc/passwd", b"/" + b"a/" * 30_000,
          b"/openai/deployments/chat/completions", b"/openai/deployments//chat/completions"],
    405: [b"/v1/models", b"/v1/models/../chat/completions"],
    431: [b"/" + b"a" * 65_536, b"/v1/chat/completions?" + b"q" * 65_536],
}  # fmt: skip

HOSTS = [b"x/?", b"x/#", b"x@y", b"", b"localhost:0", b"[::1", b"a b", b"x" * 5000, b"\xff"]

METHODS = {
    400: [b"post", b"P\0ST", b"CONNECT", b"POSTPOST"],
    405: [b"GET", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"QUERY"],
}

MEDIA = {
    200: [b"application/json", b"Application/JSON; charset=utf-8", b"application/a+json",
          b"application/json;" + b"x" * 5000],
    415: [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=" + b"-" * 50_000, b"",
          b"text/json", b"application/jsonp", b"application/json, text/plain", b"*/*"],
}  # fmt: skip

CODINGS = [b"gzip", b"br", b"zstd", b"deflate", b"gzip, identity", b"x", b""]


def too_many_headers(random: Random) -> Case:
    headers = [b"X-%d: %b" % (number, b"x" * random.randrange(500)) for number in range(150)]
    return Case(http(spelt(), *random.choice([headers, [b"Cookie: " + b"x" * 70_000]])), (431,))


WRONG = b"Authorization: Bearer wrong"
TWOFOLD = {
    200: [http(spelt(), WRONG)],  # the first counts
    400: [http(spelt(), b"Content-Length: 5"), http(spelt(), b"Transfer-Encoding: chunked"), http(spelt(), HOST)],
    401: [http(spelt(), usual=(HOST, WRONG, AUTHORIZED, JSON_TYPE))],
}

TOKENS = [
    b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwYXNz", b"Bearer wrong", b"Bearer ' OR 1=1 --", b"Bearer " + b"k" * 9000,
    b"Bearer \xf0\x9f\x94\x91", b"Bearer null", b"Bearer " + sha256(KEY.encode()).hexdigest().encode(),
    b"Bearer " + KEY.encode()[:-1], b"Bearer " + KEY.encode() + b"x", b"Bearer " + KEY.upper().encode(),
]  # fmt: skip


def wrong_key(random: Random) -> Case:
    name = random.choice([b"Authorization", b"x-api-key", b"api-key", b"x-goog-api-key"])
    method, target = random.choice([(b"POST", CHAT), (b"GET", b"/v1/models"), (b"GET", b"/v1/models/m")])
    usual = (HOST, JSON_TYPE, name + b": " + random.choice(TOKENS))
    return Case(http(spelt(), method=method, target=target, usual=usual), (401,))


# Connections


def noise(random: Random) -> Case:
    return Case(random.choice(b"\x00\x01\x16\x80\xff").to_bytes() + random.randbytes(random.randrange(3000)))


UPGRADES = [b"h2c", b"websocket", b"TLS/1.0", b"x" * 100]
VERSIONS = {200: [b"HTTP/1.0", b"HTTP/0.9"], 400: [b"HTTP/3.0", b"http/1.1", b""]}


def pipelined(random: Random) -> Case:
    cases = [random.choice([ordinary, cut_short, wrong_type, nested, wrong_key])(random) for _ in range(5)]
    return Case(b"".join(case.raw for case in cases), tuple(case.statuses[0] for case in cases))


FAMILIES: dict[str, Family] = {
    "ordinary": ordinary,
    "cut short": cut_short,
    "no JSON object": drawn_from({400: NOT_JSON}, http),
    "nested": nested,
    "huge number": huge_number,
    "wrong type": wrong_type,
    "no conversation": no_conversation,
    "text that is only text": text_that_is_only_text,
    "oversized": oversized,
    "model": drawn_from(MODELS, lambda name: http(spelt(model=name))),
    "target": drawn_from(TARGETS, lambda target: http(spelt(), target=target)),
    "host": drawn_from({200: HOSTS}, lambda host: http(spelt(), usual=(b"Host: " + host, AUTHORIZED, JSON_TYPE))),
    "host and no key": drawn_from({401: HOSTS}, lambda host: http(spelt(), usual=(b"Host: " + host, JSON_TYPE))),
    "method": drawn_from(METHODS, lambda method: http(spelt(), method=method)),
    "media type": drawn_from(MEDIA, lambda media: http(spelt(), b"Content-Type: " + media, usual=(HOST, AUTHORIZED))),
    "compressed": drawn_from({415: CODINGS}, lambda coding: http(spelt(), b"Content-Encoding: " + coding)),
    "too many headers": too_many_headers,
    "twofold header": drawn_from(TWOFOLD, bytes),
    "wrong key": wrong_key,
    "unreadable": drawn_from({400: list(UNREADABLE.values())}, bytes),
    "noise": noise,
    "version": drawn_from(VERSIONS, lambda version: http(spelt(), version=version)),
    "upgrade": drawn_from({200: UPGRADES}, lambda name: http(spelt(), b"Connection: Upgrade", b"Upgrade: " + name)),
    "expecting": drawn_from({200: [b"100-continue", b"x"]}, lambda what: http(spelt(), b"Expect: " + what)),
    "pipelined": pipelined,
    "cut off": lambda random: Case(GOOD[: random.randrange(1, len(GOOD))], (), last=True),
}


def cases(seed: int) -> Iterator[tuple[str, Case]]:
    """Every family in turn, without end; the same for the same seed."""
    random = Random(seed)
    for name, family in cycle(FAMILIES.items()):
        yield name, family(random)


# Sending them


async def attack(port: int, requests: Iterator[tuple[str, Case]]) -> list[str]:
    """Sends requests, one after the other, and says which were not answered as they should be."""
    wrong: list[str] = []
    while (following := next(requests, None)) is not None:
        async with wire(port) as connection:
            while following is not None:
                name, case = following
                open_still, problem = await played(connection, case)
                if problem:
                    wrong.append(f"{name}: {problem}: {case.raw[:300]!r}")
                if case.last or not open_still:
                    break
                following = next(requests, None)
    return wrong


async def played(connection: Wire, case: Case) -> tuple[bool, str]:
    """Whether the connection is still good after this case, and what was wrong with the answers, if anything was."""
    connection.send(case.raw)
    answer: Answer | None = None
    for status in case.statuses:
        try:
            answer = await connection.answer()
        except (TimeoutError, EOFError, OSError) as failure:
            return False, f"{failure!r} instead of {status}"
        if answer.status != status:
            return False, f"{answer.status} instead of {status}: {answer.body[:200]!r}"
        if status >= 400 and (blemish := unlike_the_envelope(answer)):
            return False, blemish
    return answer is None or "connection" not in answer.headers, ""


def unlike_the_envelope(answer: Answer) -> str:
    try:
        error: Json = answer.error
    except (AssertionError, LookupError, ValueError) as failure:
        return f"not in the envelope ({failure!r}): {answer.body[:200]!r}"
    return "" if "x-request-id" in answer.headers and isinstance(error["message"], str) else "no request id"


def resident() -> int:
    """Bytes of memory that this process holds."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def configuration(upstream: Simulator) -> str:
    azure = {"type": "azure", "base_url": upstream.url.removesuffix("/v1"), "api_key": "k", "api_version": "2024-10-21"}
    return orjson.dumps(
        {
            "server": {"max_body": MAX_BODY},
            "providers": {"p": {"type": "openai", "base_url": upstream.url, "api_key": "k"}, "az": azure},
            "models": {
                "m": {"targets": [{"provider": "p", "model": "upstream"}]},
                "any-*": {"targets": [{"provider": "az", "model": "*"}]},
            },
            "default_model": "m",
            "keys": [{"name": "tester", "key": KEY}],
        }
    ).decode()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_ten_thousand_hostile_requests_get_what_they_deserve_and_leave_nothing_behind() -> None:
    wrong: list[str] = []
    sizes: list[int] = []
    paths: set[str] = set()
    async with Simulator() as upstream, gateway(configuration(upstream)) as under_test:
        for seed in range(ROUNDS):
            requests = islice(cases(seed), REQUESTS // ROUNDS)
            for found in await asyncio.gather(*(attack(under_test.port, requests) for _ in range(CONNECTIONS))):
                wrong += found
            wrong += [f"recorded as {entry.status}" for entry in under_test.entries if entry.status >= 500]
            paths |= {request.path for request in upstream.requests}
            under_test.entries.clear()
            upstream.requests.clear()
            sizes.append(resident())
    assert not wrong, "\n".join([f"{len(wrong)} answers were wrong:", *wrong[:20]])
    assert min(after - before for before, after in pairwise(sizes)) < GROWTH, sizes
    assert all(SEEN_UPSTREAM.fullmatch(path) for path in paths), paths
