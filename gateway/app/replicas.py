"""The ways to other replicas, where the configuration names a Redis. Its library is only imported then."""

from __future__ import annotations

from collections.abc import Callable

from gateway.app.times import milliseconds
from gateway.config.snapshot import State
from gateway.ports import Counters, Notices
from gateway.sinks.metrics import Metrics
from gateway.store.memory import MemoryCounters


def open_counters(state: State, metrics: Metrics, event: Callable[..., None]) -> Counters:
    """Where limits and budgets are counted: here, or in Redis with all other replicas."""
    if state.redis is None:
        return MemoryCounters(milliseconds)
    from gateway.store.redis_counters import RedisCounters

    return RedisCounters(
        state.redis,
        now=milliseconds,
        away=state.redis_down,
        failed=metrics.redis_failed,
        shared=metrics.limits_are_shared,
        event=event,
    )


def open_notices(state: State, metrics: Metrics, event: Callable[..., None]) -> Notices | None:
    """How replicas tell each other of targets; None where there are no others."""
    if state.redis is None:
        return None
    from gateway.store.redis import RedisNotices

    return RedisNotices(state.redis, failed=metrics.redis_failed, event=event)
