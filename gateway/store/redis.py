"""
What replicas tell each other of targets, through Redis or Valkey.

No call ever waits for Redis, and nothing that is wrong with it is raised to anyone: it is counted, and logged once when
Redis is lost and once when it is back. What waits to be told, what is read and what is believed are all bounded, since
others may write to the same server.

What holds is kept under one key per target, which expires by itself, and is published on one channel. Subscribing comes
before reading the keys, so that nothing falls between the two.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from math import ceil
from random import uniform
from secrets import token_hex
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from gateway.core.errors import LONG_COOLDOWN, Failure
from gateway.core.secret import Secret
from gateway.ports import Notice
from gateway.store.redis_link import CLOSING, FIRST_PAUSE, PATIENCE, Failed, Link

LONGEST = LONG_COOLDOWN * 1.1
"""Seconds for which a target is left alone at most, whoever says so: the longest ejection with its jitter."""

MOST_TIMES = 10_000
"""Ejections in a row that are counted: a month of the longest ones."""

NAME_LIMIT = 256
"""Characters of the name of a provider or a model. Longer ones are not shared."""

MESSAGE_LIMIT = 4096
"""Bytes of a message. Two names of full length and the rest fit, however they are escaped."""

WHYS = frozenset({"ejected", "well", *Failure})

BACKLOG = 1000
"""Notices that may wait to be told. Beyond that the oldest are dropped."""

BATCH = 100
"""Notices that share a round trip."""

PREFIX = "gateway:target:"

SCAN_COUNT = 1000
SCAN_ROUNDS = 200
"""A new replica looks for notices among this many times `SCAN_COUNT` keys: Redis may hold much else."""

MOST_KEYS = 1000
"""Notices that a new replica reads."""

LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach Redis at most."""

TELL = """
redis.call('PUBLISH', ARGV[3], ARGV[2] .. ' ' .. ARGV[1])
local milliseconds = tonumber(ARGV[2])
if milliseconds == 0 then
  redis.call('DEL', KEYS[1])
elseif redis.call('PTTL', KEYS[1]) < milliseconds then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', milliseconds)
end
"""
"""KEYS: of the target. ARGV: the notice, its milliseconds, the channel. It publishes first: a server without memory
refuses the SET, and undoes nothing. PTTL is negative where there is no key."""


class RedisNotices:
    """The way to the other replicas. Implements `gateway.ports.Notices`.

    `failed` counts what went wrong, by kind: those of `redis_link`, `malformed` (a notice that makes no sense, from
    others or for others), `dropped` (too many waited) and `unread` (too many were there). `event` is the log.

    Raises ValueError if the URL is none.
    """

    def __init__(self, url: Secret, *, failed: Failed, event: Callable[..., None]) -> None:
        self._link = Link(url, failed, event, "redis_lost", "redis_back")
        self._channel = f"gateway:notices:{self._link.database}"  # a server has one name-space of channels for them all
        self._failed = failed
        self._id = token_hex(8)
        self._waiting: deque[_Told] = deque()
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._open = True

    def tell(self, notice: Notice) -> None:
        """Tells every other replica, soon. What Redis is away for is told when it is back, if it still holds."""
        try:
            message = encoded(notice, self._id)
        except ValueError:
            self._failed("malformed")
            return
        self._waiting.append(_Told(_key(notice), message, notice.seconds == 0, monotonic() + _held(notice.seconds)))
        if len(self._waiting) > BACKLOG:
            self._waiting.popleft()
            self._failed("dropped")
        self._told.set()

    def start(self, heard: Callable[[Notice], None]) -> None:
        """Begins to listen and to tell, in the running loop; to be called once.

        A shorter time may be heard of after a longer one: the longer one holds.
        """
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(heard))

    async def aclose(self) -> None:
        """Listens no more, and tells no more."""
        self._open = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2 * CLOSING)

    # One connection after the other. `_open` is asked beside being cancelled, because redis-py sends by way of
    # `asyncio.wait_for`, and that of Python 3.11 can lose a cancellation: https://github.com/python/cpython/issues/86296

    async def _keep_connected(self, heard: Callable[[Notice], None]) -> None:
        pause = FIRST_PAUSE
        while self._open:
            began = monotonic()
            try:
                await self._visit(heard)
            except* Exception as several:  # whatever answers there may answer anything
                self._link.missed(several.exceptions[0])
            pause = FIRST_PAUSE if monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(uniform(pause / 2, pause))  # noqa: S311

    async def _visit(self, heard: Callable[[Notice], None]) -> None:
        """From connecting to losing the connection. Raises whatever ended it."""
        async with _connected(self._link) as (redis, channel):
            await channel.subscribe(self._channel)
            if await channel.get_message(timeout=PATIENCE) is None:
                raise TimeoutError("Redis does not confirm a subscription")
            await self._tell_all(redis)  # before reading, so that what we know to be well is not heard to be ill
            await self._read(redis, heard)
            self._link.found()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._keep_telling(redis))
                both.create_task(self._keep_listening(channel, heard))

    # Telling

    async def _keep_telling(self, redis: Redis) -> None:
        while self._open:
            await self._told.wait()
            self._told.clear()
            await self._tell_all(redis)

    async def _tell_all(self, redis: Redis) -> None:
        """Nothing leaves the queue before Redis has confirmed it. To be told of a thing twice does no harm."""
        while self._waiting:
            batch = tuple(islice(self._waiting, BATCH))
            await self._send(redis, batch)
            for told in batch:
                if self._waiting and self._waiting[0] is told:  # not dropped in the meantime
                    self._waiting.popleft()

    async def _send(self, redis: Redis, batch: tuple[_Told, ...]) -> None:
        now = monotonic()
        pipeline = redis.pipeline(transaction=False)
        for told in batch:
            if now < told.until:
                left = 0 if told.well else ceil((told.until - now) * 1000)
                pipeline.eval(TELL, 1, told.key, told.message, left, self._channel)
        await pipeline.execute()

    # Listening

    async def _keep_listening(self, channel: PubSub, heard: Callable[[Notice], None]) -> None:
        asked = False
        while self._open:
            message = await channel.get_message(timeout=PATIENCE)
            if message is None and asked:
                raise TimeoutError("Redis has fallen silent")
            asked = message is None
            if message is None:
                await channel.ping()
            elif message["type"] == "message":
                milliseconds, _, notice = message["data"].partition(b" ")
                self._hear(notice, milliseconds, heard)
                await asyncio.sleep(0)  # what has been received already is read without a pause, and calls want to run

    async def _read(self, redis: Redis, heard: Callable[[Notice], None]) -> None:
        """Hears what holds already."""
        keys = await self._keys(redis)
        for start in range(0, len(keys), BATCH):
            pipeline = redis.pipeline(transaction=False)
            for key in keys[start : start + BATCH]:
                pipeline.pttl(key)
                pipeline.getrange(key, 0, MESSAGE_LIMIT)
            answers = await pipeline.execute(raise_on_error=False)
            for milliseconds, message in zip(answers[::2], answers[1::2], strict=True):
                if milliseconds and message:  # it is not over by now; as a time, zero would say that it is well again
                    self._hear(message, milliseconds, heard)

    async def _keys(self, redis: Redis) -> list[bytes | str]:
        keys: dict[bytes | str, None] = {}  # a scan may give the same key twice
        cursor: Any = 0
        for _ in range(SCAN_ROUNDS):
            cursor, found = await redis.scan(cursor, match=f"{PREFIX}*", count=SCAN_COUNT)
            keys.update(dict.fromkeys(found))
            if int(cursor) == 0 or len(keys) > MOST_KEYS:
                break
        if int(cursor) != 0 or len(keys) > MOST_KEYS:
            self._failed("unread")
        return list(keys)[:MOST_KEYS]

    def _hear(self, message: bytes, milliseconds: bytes | int, heard: Callable[[Notice], None]) -> None:
        try:
            sender, notice = decoded(message, milliseconds)
        except (ValueError, TypeError):
            self._failed("malformed")
            return
        if sender != self._id:
            heard(notice)


class _Told(NamedTuple):
    """What waits to be told."""

    key: str
    message: bytes
    well: bool
    """Then it says that nothing holds any more; which is news for as long as anything could have held."""
    until: float
    """Of the monotonic clock. What is over by then need not be told."""


def encoded(notice: Notice, sender: str) -> bytes:
    """A notice without its time, which is told beside it. Raises ValueError for names that are not to be shared."""
    if not all(0 < len(name) <= NAME_LIMIT for name in (notice.provider, notice.model)):
        raise ValueError("a name is too long, or empty")
    said = {
        "from": sender,
        "provider": notice.provider,
        "model": notice.model,
        "why": str(notice.why),
        "times": min(notice.times, MOST_TIMES),
        "asked": notice.asked,
    }
    try:
        return orjson.dumps(said)
    except TypeError as error:  # half of a surrogate pair
        raise ValueError("a name is not Unicode") from error


def decoded(message: bytes, milliseconds: bytes | int) -> tuple[str, Notice]:
    """Who tells, and what. Raises ValueError or TypeError: anyone who reaches Redis can write there."""
    time = int(milliseconds)
    if time < 0 or len(message) > MESSAGE_LIMIT:
        raise ValueError("a time that is over, or none; or too many bytes")
    match orjson.loads(message):
        case {
            "from": str(sender),
            "provider": str(provider),
            "model": str(model),
            "why": str(why),
            "times": int(times),
            "asked": bool(asked),
        } if max(len(provider), len(model)) <= NAME_LIMIT and why in WHYS and times >= 0:
            seconds = min(time / 1000, LONGEST)
            return sender, Notice(provider, model, why, seconds, min(times, MOST_TIMES), asked)
    raise ValueError("not a notice")


def _held(seconds: float) -> float:
    """Seconds for which a notice is worth telling."""
    return min(seconds, LONGEST) if seconds else LONGEST


def _key(notice: Notice) -> str:
    """Quoted, so that no two targets have the same key, whatever they are called."""
    return f"{PREFIX}{quote(notice.provider, safe='')}:{quote(notice.model, safe='')}"


@asynccontextmanager
async def _connected(link: Link) -> AsyncIterator[tuple[Redis, PubSub]]:
    """One connection for commands and one for the channel."""
    redis = link.open()
    channel = redis.pubsub()
    try:
        yield redis, channel
    finally:
        with suppress(exceptions.RedisError, OSError):
            async with asyncio.timeout(CLOSING):
                await channel.aclose()  # type: ignore[no-untyped-call]
                await redis.aclose()
