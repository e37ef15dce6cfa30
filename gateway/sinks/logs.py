"""One line per call, and the words of the server itself: JSON for machines, plain text on a terminal.

A line never holds a prompt, an answer or a secret. Lines are written by a thread of their own, so that neither a slow
disk nor a full pipe holds up a call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from msgspec import Struct, defstruct, json, to_builtins
from msgspec.structs import astuple

from gateway.core.call import Json
from gateway.core.money import dollars
from gateway.core.record import FIELDS, Attempt
from gateway.engine.entry import Entry, Tried
from gateway.sinks.records import record

BACKLOG = 2000
"""Batches that may wait for a slow reader. Beyond that lines are dropped, and a later one says how many."""

SAID = 300
"""Characters about one attempt in a log line."""

EXPECTED = frozenset({"ok", "cancelled", "client_error", "limited"})
"""Outcomes for which nobody has to get up."""

TOLD = ("time", "level", "event", "id", *("cost_usd" if name == "cost_micros" else name for name in FIELDS[2:]))
"""Of each line of a call: what the log has of itself, and the fields of the record that follow its id and time."""

Said: Any = defstruct("Said", [*TOLD, ("trace_id", str, ""), ("error", str, "")], omit_defaults=True)
"""The line of a call, made and spelt in half the time that a dictionary takes. What is empty at its end is left out."""


class Try(Struct, omit_defaults=True):
    """One attempt, in the line of its call."""

    provider: str
    model: str
    outcome: str
    ms: float
    said: str = ""
    """What the provider said of its failure."""


ENDS = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
"""Of times."""

AT_ONCE = 2**20
"""Bytes that are written at once, unless others write to the same place."""


class Writer:
    """Puts lines on a file descriptor without ever making a call wait.

    Where other processes write to the same pipe, `at_once` is `select.PIPE_BUF`: longer writes are mixed with theirs
    (POSIX, `write`). So is a line that is longer itself.
    """

    def __init__(self, fd: int, at_once: int = AT_ONCE) -> None:
        self._fd = fd
        self._at_once = at_once
        self._lines: list[bytes] = []
        self._dropped = 0
        self._due: asyncio.Handle | None = None
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="log-writer", daemon=True)
        self._thread.start()

    def line(self, line: bytes) -> None:
        """May be called by any thread: libraries log in theirs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another thread, or before the loop runs, or after it
            self._put([line])
            return
        self._lines.append(line)
        if self._due is None:
            self._due = loop.call_soon(self._flush)

    def close(self) -> None:
        """Writes what is left, and waits for it."""
        self._flush()
        self._batches.put(None)
        self._thread.join(timeout=2)

    def _flush(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        lines, self._lines = self._lines, []
        if lines:
            self._put(lines)

    def _put(self, lines: list[bytes]) -> None:
        if self._batches.qsize() > BACKLOG:
            self._dropped += len(lines)
            return
        if self._dropped:
            lines.append(orjson.dumps({"level": "error", "event": "log_lines_dropped", "count": self._dropped}))
            self._dropped = 0
        self._batches.put(b"\n".join(lines) + b"\n")

    def _drain(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                for piece in _pieces(batch, self._at_once):
                    while piece:
                        piece = piece[os.write(self._fd, piece) :]
            except OSError:  # nobody reads any more; the gateway has better things to do than to die of it
                continue


def _pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """Whole lines, as many as go into so many bytes."""
    while len(lines) > most:
        end = lines.rfind(b"\n", 0, most) + 1 or lines.index(b"\n") + 1
        yield lines[:end]
        lines = lines[end:]
    yield lines


class Logs(logging.Handler):
    """Takes settled entries as a sink, events of the gateway, and what libraries log."""

    def __init__(self, writer: Writer, now: Callable[[], float], *, human: bool) -> None:
        super().__init__(logging.INFO)
        self._writer = writer
        self._now = now
        self._spell: Callable[[Json], bytes] = _plainly if human else orjson.dumps
        self._spell_call: Callable[[Struct], bytes] = _call_plainly if human else json.Encoder().encode

    def __call__(self, entry: Entry) -> None:
        """One settled call."""
        self._writer.line(self._spell_call(call(entry)))

    def event(self, level: str, event: str, **details: object) -> None:
        """Something the server itself has to say."""
        time = _iso(int(self._now() * 1000))
        self._writer.line(self._spell({"time": time, "level": level, "event": event, **details}))

    def crashed(self, request_id: str, error: BaseException) -> None:
        """A defect of ours: where it happened, without the values that were there."""
        self.event("error", "defect", id=request_id, **_where(error))

    def emit(self, record: logging.LogRecord) -> None:
        """A library's own log record. What it has caught may be ours, and asyncio repeats it below its first line."""
        caught = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        if caught is None:
            self.event(record.levelname.lower(), record.name, message=message)
        else:
            self.event(record.levelname.lower(), record.name, message=message.partition("\n")[0], **_where(caught))


def _where(error: BaseException) -> Json:
    """What kind of an error it was and where, without the values that were there."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "where": frames[-8:]}


def call(entry: Entry) -> Any:
    """`Said` of one settled call: its record, and what only the log tells: what providers said of their failures."""
    kept = record(entry)
    level = "info" if entry.outcome in EXPECTED else "warning"
    said = Said(_iso(kept.time), level, "call", entry.id, *astuple(kept)[2:])
    if kept.cost_micros is not None:
        said.cost_usd = dollars(kept.cost_micros)
    said.attempts = tuple(map(_attempt, kept.attempts, entry.tried))
    if entry.trace is not None:
        said.trace_id = entry.trace.hex_id
    if entry.error is not None:
        said.error = (entry.error.code or entry.error.type)[:SAID]
    return said


def _attempt(kept: Attempt, tried: Tried) -> Try:
    return Try(kept.provider, kept.model, kept.outcome, kept.ms, tried.said[:SAID])


def _call_plainly(said: Struct) -> bytes:
    return _plainly(to_builtins(said))


def _plainly(said: Json) -> bytes:
    line = _line_of_call(said) if said["event"] == "call" else _line_of_event(said)
    if not line.isprintable():  # somebody's name for a thing is not to end a line, or to paint the terminal
        line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
    return line.encode()


def _line_of_event(said: Json) -> str:
    rest = " ".join(f"{key}={value}" for key, value in said.items() if key not in ("time", "level", "event"))
    return f"{said['time'][11:19]} {said['level']:<7} {said['event']} {rest}"


def _line_of_call(said: Json) -> str:
    way = f"{said['model'] or '-'} -> {said['provider'] or '-'}"
    tokens = f"{said['input_tokens']}+{said['output_tokens']} tokens"
    trail = (
        "" if len(said["attempts"]) < 2 else " after " + ", ".join(each["outcome"] for each in said["attempts"][:-1])
    )
    error = f" {said['error']}" if "error" in said else ""
    return (
        f"{said['time'][11:19]} {said['status']} {said['outcome']:<8} {said['latency_ms']:>8.1f} ms  {way}  {tokens}"
        f"  key={said['key'] or '-'}{error}{trail}  {said['id']}"
    )


def _iso(milliseconds: int) -> str:
    return _iso_second(milliseconds // 1000) + ENDS[milliseconds % 1000]


@lru_cache(maxsize=16)
def _iso_second(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S")
