"""Plays the calls, and holds the accounts of all sides against each other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from msgspec.structs import replace

from gateway.cli.live import samples
from gateway.core.events import Usage
from gateway.core.ledger import By, Chosen, Spent
from gateway.core.record import Record
from gateway.simulator.truth import Truth, Truths
from gateway.store.ledger import MOST_LISTED, Ledger
from tests.accounting.calls import Seen, calls, in_turn, made, made_in_turn
from tests.accounting.world import CHARGED_TWICE, HEDGED, SCENES, UNTOLD, World, key_of, public, world
from tests.stores.books import added_up, opened

NOTHING = Usage()

SETTLED = 10.0
"""Seconds within which the last calls have ended, and everything is in the database."""

REQUESTS = "gateway_requests_total"

Account = Mapping[tuple[str, str], Usage]
"""By key and public model."""

BY: Mapping[By, Callable[[Record], str]] = {
    "key": lambda record: record.key,
    "model": lambda record: record.model,
    "provider": lambda record: record.provider,
    "outcome": lambda record: record.outcome,
}


@dataclass(frozen=True)
class Found:
    """What every side has to say of the same calls."""

    seen: list[Seen]
    """By the clients."""
    records: list[Record]
    spent: Mapping[By, list[Spent]]
    """By the ledger."""
    metrics: str
    truths: Mapping[str, list[Truths]]
    """By model of a scene: of each of its simulators."""
    seconds: float

    @cached_property
    def reported(self) -> Account:
        """What providers have said, by the records."""
        return _summed(record for record in self.records if record.usage_source == "reported")

    @cached_property
    def estimated(self) -> list[Record]:
        return [record for record in self.records if record.usage_source == "estimated"]

    @cached_property
    def guessed(self) -> Usage:
        """What they come to."""
        return total(usage_of(record) for record in self.estimated)

    @cached_property
    def served(self) -> Account:
        """What providers have said, by what the simulators have served."""
        account: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        for name, truth in self._truths():
            if name[1] not in UNTOLD:
                account[name] += truth.usage
            if name[1] in CHARGED_TWICE:
                account[name] += replace(truth.cut_usage, output=truth.cut)
        return {name: usage for name, usage in account.items() if usage != NOTHING}

    @cached_property
    def unsaid(self) -> Usage:
        """What was served of answers that were cut, or whose usage nobody told."""
        total = NOTHING
        for (_, model), truth in self._truths():
            if model not in CHARGED_TWICE and model not in HEDGED:
                total += truth.usage if model in UNTOLD else truth.cut_usage
        return total

    def _truths(self) -> Iterator[tuple[tuple[str, str], Truth]]:
        for model, simulators in self.truths.items():
            for truths in simulators:
                for (_, upstream_model), truth in truths.items():
                    yield (key_of(upstream_model), model), truth

    def counted(self, metric: str, **labels: str) -> dict[tuple[str, str, str], float]:
        """A metric by key, model and provider, of those series that have these labels."""
        found: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        for name, told, value in samples(self.metrics):
            if name == metric and labels.items() <= told.items():
                found[told["key"], told["model"], told["provider"]] += value
        return {name: value for name, value in found.items() if value}


def played(count: int, seed: int = 0, workers: int = 1) -> Found:
    """So many calls, and what came of them."""
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_played(count, seed, workers, Path(folder) / "ledger.db"))


async def _played(count: int, seed: int, workers: int, database: Path) -> Found:
    began = time.monotonic()
    async with world(database, workers) as playing:
        seen = await made(playing, calls(count, seed))
        seen += await made_in_turn(playing, in_turn(count))
        metrics = await _settled(playing, len(seen))
        for each in (each for group in playing.simulators.values() for each in group):
            await each.until(lambda each=each: not each.busy, SETTLED)  # type: ignore[misc]
        truths = {name: [each.truth() for each in group] for name, group in playing.simulators.items()}
    ledger = opened(f"sqlite:///{database}")
    spent = {by: ledger.usage(by) for by in BY}
    return Found(seen, everything(ledger), spent, metrics, truths, time.monotonic() - began)


async def _settled(playing: World, calls: int) -> str:
    """The metrics, when so many calls are in them. Workers tell each other of theirs every second."""
    async with asyncio.timeout(SETTLED):
        while True:
            metrics = await playing.metrics()
            if sum(value for name, _, value in samples(metrics) if name == REQUESTS) >= calls:
                return metrics


def everything(ledger: Ledger) -> list[Record]:
    """All records, the newest first."""
    records, cursor = list[Record](), None
    while True:
        page = ledger.newest(Chosen(), MOST_LISTED, cursor)
        records += page.records
        cursor = page.cursor
        if cursor is None:
            return records


def _summed(records: Iterable[Record]) -> Account:
    account: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
    models = {public(name): name for name in SCENES}
    for record in records:
        name = record.key, models[record.model]
        account[name] += usage_of(record)
    return {name: usage for name, usage in account.items() if usage != NOTHING}


def usage_of(record: Record) -> Usage:
    return Usage(
        record.input_tokens,
        record.output_tokens,
        record.cache_read_tokens,
        record.cache_write_tokens,
        record.reasoning_tokens,
    )


def total(usages: Iterable[Usage]) -> Usage:
    found = NOTHING
    for usage in usages:
        found += usage
    return found


def price(record: Record) -> int | None:
    """Micro-dollars of a record's tokens, calculated by hand. None where the model has no price."""
    models = {public(name): scene for name, scene in SCENES.items()}
    rate = models[record.model].rate
    if rate is None:
        return None
    plain = record.input_tokens - record.cache_read_tokens
    parts = ((plain, rate.input), (record.cache_read_tokens, rate.cache_read), (record.output_tokens, rate.output))
    exact = sum((tokens * Decimal(str(each)) for tokens, each in parts), Decimal(0))
    return int(exact.to_integral_value(ROUND_HALF_UP))


def differences(found: Found) -> Iterator[str]:
    """Where the accounts differ; nothing if they agree."""
    for claim, check in CLAIMS.items():
        for difference in check(found):
            yield f"{claim}: {difference}"


def _missing_or_double(found: Found) -> Iterator[str]:
    expected = Counter(each.id for each in found.seen)
    got = Counter(record.id.partition(":")[0] for record in found.records)
    yield from (
        f"{id} {expected[id]} times called, {got[id]} times recorded"
        for id in expected | got
        if expected[id] != got[id]
    )


def _unlike_the_clients(found: Found) -> Iterator[str]:
    records = {record.id.partition(":")[0]: record for record in found.records}
    for each in found.seen:
        record = records.get(each.id)
        if record is not None and record.status != each.status:
            yield f"{each} is recorded with {record.status}"
        if record is not None and (record.outcome == "ok") != each.complete:
            yield f"{each} is recorded as {record.outcome}"


def _unlike_the_providers(found: Found) -> Iterator[str]:
    for name in {*found.reported, *found.served}:
        told, served = found.reported.get(name, NOTHING), found.served.get(name, NOTHING)
        if name[1] in HEDGED:
            if not served.input <= told.input <= 2 * served.input:
                yield f"{name}: {told} charged, {served} served"
        elif told != served:
            yield f"{name}: {told} charged, {served} served"


def _badly_estimated(found: Found) -> Iterator[str]:
    for kind in ("input", "output"):
        told, served = getattr(found.guessed, kind), getattr(found.unsaid, kind)
        if not 0.85 * served <= told <= 1.15 * served:
            yield f"{told} {kind} tokens charged, {served} served"


def _not_flagged(found: Found) -> Iterator[str]:
    for record in found.records:
        used = record.input_tokens + record.output_tokens > 0
        if used == (record.usage_source == "none"):
            yield str(record)


def _unlike_the_records(found: Found) -> Iterator[str]:
    for by, name in BY.items():
        sums, told = added_up(found.records, name), {each.by: each for each in found.spent[by]}
        yield from (
            f"{by} {each}: {told.get(each)}, {sums.get(each)}"
            for each in sums | told
            if sums.get(each) != told.get(each)
        )


def _unlike_the_metrics(found: Found) -> Iterator[str]:
    for kind in ("input", "output", "cache_read", "cache_write", "reasoning"):
        yield from _unequal(kind, found.counted("gateway_tokens_total", type=kind), found, f"{kind}_tokens")
    dollars = found.counted("gateway_cost_dollars_total")
    micros = {name: round(cost * 10**6) for name, cost in dollars.items()}
    yield from _unequal("cost", micros, found, "cost_micros")
    requests = sum(found.counted(REQUESTS).values())
    if requests != len(found.records):
        yield f"{requests} requests"


def _unequal(what: str, counted: Mapping[tuple[str, str, str], float], found: Found, field: str) -> Iterator[str]:
    sums: Counter[tuple[str, str, str]] = Counter()
    for record in found.records:
        sums[record.key, record.model or "other", record.provider] += getattr(record, field) or 0
    for name in {*counted, *+sums}:
        if counted.get(name, 0) != sums[name]:
            yield f"{what} of {name}: {counted.get(name, 0)} counted, {sums[name]} recorded"


def _wrongly_priced(found: Found) -> Iterator[str]:
    for record in found.records:
        due = None if record.usage_source == "none" else price(record)
        if record.cost_micros != due:
            yield f"{due} due for {record}"


CLAIMS: Mapping[str, Callable[[Found], Iterator[str]]] = {
    "there is one record for each call": _missing_or_double,
    "clients have seen what is recorded": _unlike_the_clients,
    "what was reported is what was served": _unlike_the_providers,
    "what nobody told is estimated well": _badly_estimated,
    "it is said where usage is from": _not_flagged,
    "the ledger holds the sum of its records": _unlike_the_records,
    "the metrics count what is recorded": _unlike_the_metrics,
    "every call costs what its tokens cost": _wrongly_priced,
}
