"""
One connection on which calls of a script go out as they come, those of one turn of the loop together, and whose answers
come back in their order. Nobody waits for another's answer. The first answer that takes longer than the patience of the
pipe breaks it, and so does anything else that is wrong.

Only so many are out at once that the time of an answer is the server's and the network's: a burst of thousands takes
its time on any machine, and says nothing of either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha1
from math import inf
from typing import Any, NamedTuple

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

GRACE = 0.005
"""Seconds for reading what has come while the loop was late itself: that is nobody else's fault."""

OUT = 64
"""Calls that are on their way at once: two or three milliseconds of a server's work."""

Answered = Callable[[Any], None]
"""Told the answer; or None, if there was none before the pipe broke: then nobody knows whether the call was made."""

Words = Sequence[str | int]


class Pipe:
    """Calls of one script. `patience` is in seconds. The connection is open, and is closed by its owner."""

    def __init__(self, connection: AbstractConnection, script: str, patience: float) -> None:
        self._connection = connection
        self._script = script
        self._digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call] = deque()
        self._sent: deque[_Call] = deque()
        self._ready = asyncio.Event()
        self._late = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def call(self, keys: Words, words: Words, answered: Answered) -> None:
        """Calls the script, soon. What `answered` raises breaks the pipe."""
        self._waiting.append(_Call(("EVALSHA", self._digest, len(keys), *keys, *words), answered))
        self._ready.set()

    async def run(self) -> None:
        """Until something is wrong, or it is cancelled. Raises what was wrong."""
        try:
            async with asyncio.TaskGroup() as all_:
                all_.create_task(self._write())
                all_.create_task(self._read())
                all_.create_task(self._watch())
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def abandon(self) -> None:
        """Tells everyone who has no answer that there will be none."""
        unanswered = [*self._sent, *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for call in unanswered:
            call.answered(None)

    async def _write(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            now = self._loop.time()
            calls = [self._waiting.popleft() for _ in range(min(len(self._waiting), OUT - len(self._sent)))]
            self._sent.extend(call._replace(since=now) for call in calls)
            if self._timer is None:
                self._look_at(now + self._patience)
            await self._connection.send_packed_command(b"".join(map(_packed, calls)), check_health=False)

    async def _read(self) -> None:
        while True:
            try:
                answer = await self._connection.read_response(timeout=inf)
            except exceptions.NoScriptError:
                call = self._sent.popleft()
                self._waiting.append(call._replace(command=("EVAL", self._script, *call.command[2:])))
            else:
                self._sent[0].answered(answer)
                self._sent.popleft()
            if self._waiting:
                self._ready.set()

    def _look_at(self, due: float, *, graced: bool = False) -> None:
        self._timer = self._loop.call_at(due, self._look, due, graced)

    def _look(self, due: float, graced: bool) -> None:
        """Whether any answer has taken too long. One timer looks after all of them: it is set to the oldest."""
        now = self._loop.time()
        if not self._sent:
            self._timer = None
        elif self._sent[0].since + self._patience > now:
            self._look_at(self._sent[0].since + self._patience)
        elif now > due + GRACE and not graced:
            self._look_at(now + GRACE, graced=True)
        elif not self._late.done():
            self._late.set_result(None)

    async def _watch(self) -> None:
        await self._late
        raise TimeoutError(f"no answer within {self._patience * 1000:.0f} ms")


class _Call(NamedTuple):
    command: tuple[str | int, ...]
    answered: Answered
    since: float = 0.0
    """When it was sent."""


def _packed(call: _Call) -> bytes:
    """A command as it is sent: https://redis.io/docs/latest/develop/reference/protocol-spec/. Words are ASCII.

    Redis-py's own way takes any type of word, and three times as long as all else that a call here costs.
    """
    texts = [str(word) for word in call.command]
    return "".join([f"*{len(texts)}\r\n", *(f"${len(text)}\r\n{text}\r\n" for text in texts)]).encode("ascii")
