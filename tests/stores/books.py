"""Records to keep, and what they come to when they are added up one by one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.core.ledger import SUMS, Spent
from gateway.core.record import Attempt, Record
from gateway.core.secret import Secret
from gateway.store.database import Database
from gateway.store.ledger import Ledger

NOON = 1_800_014_400
"""Seconds since 1970: midday of a 15 January, in UTC."""

PATIENT = 20.0
"""Seconds after which a test gives up."""

ONE = Record(
    id="one",
    time=NOON * 1000,
    key="web-app",
    end_user="",
    endpoint="chat",
    model="gpt-4o-mini",
    provider="openai",
    upstream_model="gpt-4o-mini-2024",
    status=200,
    outcome="ok",
    stream=True,
    input_tokens=100,
    output_tokens=20,
    cache_read_tokens=40,
    cache_write_tokens=10,
    reasoning_tokens=5,
    usage_source="reported",
    cost_micros=27,
    latency_ms=812.5,
    first_token_ms=301.25,
    overhead_ms=0.5,
    attempts=(
        Attempt("azure", "my-deployment", "rate_limited", 40.5),
        Attempt("openai", "gpt-4o-mini-2024", "ok", 771),
    ),
)


def call(id: str, *, after: float = 0, **said: Any) -> Record:
    """A record like `ONE`, so many seconds after noon."""
    return replace(ONE, id=id, time=int((NOON + after) * 1000), **said)


def calls(count: int, prefix: str = "call") -> list[Record]:
    """Records a second apart."""
    return [call(f"{prefix}-{number}", after=number) for number in range(count)]


def lines(records: Iterable[Record]) -> bytes:
    return b"".join(record.line() for record in records)


def added_up(records: Iterable[Record], by: Callable[[Record], str]) -> dict[str, Spent]:
    """What distinct records come to."""
    sums: dict[str, Counter[str]] = {}
    for record in {each.id: each for each in records}.values():
        group = sums.setdefault(by(record), Counter())
        used = record.input_tokens + record.output_tokens > 0
        group.update({name: getattr(record, name) for name in SUMS if name.endswith("_tokens")})
        group.update(
            calls=1,
            cost_micros=record.cost_micros or 0,
            unpriced_calls=int(used and record.cost_micros is None),
            estimated_calls=int(record.usage_source == "estimated"),
        )
    return {name: Spent(name, *(group[each] for each in SUMS)) for name, group in sums.items()}


def told(spent: Iterable[Spent]) -> dict[str, Spent]:
    return {each.by: each for each in spent}


def opened(url: str) -> Ledger:
    """A ledger that has asked its database for nothing yet."""
    return Ledger(Database(Secret(url)))


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it does. Fails when that takes too long."""
    give_up = time.monotonic() + PATIENT
    while not holds():
        assert time.monotonic() < give_up, "it never came to be"
        time.sleep(0.01)


class Log:
    """What the journal and the carrier had to say."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.words = ""

    def __call__(self, level: str, event: str, **details: object) -> None:
        self.events.append(event)
        self.words += f"{level} {event} {details}\n"


def left_behind(root: Path, content: bytes, name: str = "0000000001-1-dead") -> Path:
    """A journal of a process that is gone. Gives its only segment."""
    segment = root / name / "0000000001.jsonl"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(content)
    return segment
