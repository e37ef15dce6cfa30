"""What is particular about counters in process: how much they keep."""

from __future__ import annotations

from gateway.policy.limits import limit
from gateway.ports import Refused, Reservation, Use
from gateway.store.memory import FEW, MemoryCounters

MINUTE = 60_000


def reserved(counters: MemoryCounters, name: str) -> Reservation:
    limits = (
        limit(("target", name), "requests_per_minute", 10),
        limit(("target", name), "concurrent_requests", 1),
        limit(("target", name), "token_budget", 10, "hour"),
    )
    answer = counters.reserve_now(limits, Use(tokens=1))
    assert isinstance(answer, Reservation)
    return answer


def test_counters_that_hold_nothing_any_more_take_no_memory() -> None:
    now = [0]
    counters = MemoryCounters(lambda: now[0])
    for n in range(20_000):
        now[0] += MINUTE
        counters.settle(reserved(counters, f"model-{n}"), Use(tokens=1))
    assert len(counters._counters) <= FEW + 2
    assert counters._open == {}


def test_what_is_held_is_kept_however_many_others_come() -> None:
    now = [0]
    counters = MemoryCounters(lambda: now[0])
    call = reserved(counters, "kept")
    for n in range(5 * FEW):
        now[0] += MINUTE
        counters.settle(reserved(counters, f"model-{n}"), Use(tokens=1))
    assert isinstance(counters.reserve_now(call.limits[1:2], Use()), Refused)


def test_what_a_long_call_has_used_is_held_against_those_that_come_after_it() -> None:
    now = [0]
    counters = MemoryCounters(lambda: now[0])
    rate = (limit(("key", "patient"), "tokens_per_minute", 10),)
    call = counters.reserve_now(rate, Use(tokens=1))
    for n in range(5 * FEW):
        now[0] += MINUTE
        counters.settle(reserved(counters, f"model-{n}"), Use(tokens=1))
    assert isinstance(call, Reservation)
    counters.settle(call, Use(tokens=100))
    assert isinstance(counters.reserve_now(rate, Use(tokens=1)), Refused)
