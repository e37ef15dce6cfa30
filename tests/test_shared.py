"""Metrics of several workers, told as those of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sinks.metrics import Metrics
from gateway.sinks.shared import Shared, added_up, depart
from tests.test_metrics import read, settled, value

CALLS = {"endpoint": "chat", "model": "m", "provider": "p"}


def worked(calls: int) -> Metrics:
    """What a worker has after so many calls."""
    metrics = Metrics()
    for _ in range(calls):
        metrics(settled(cost=250_000))
    return metrics


def told(folder: Path, *workers: Metrics) -> None:
    """Each worker is asked in turn."""
    for number, metrics in enumerate(workers):
        Shared(folder, f"worker-{number}").exposition(metrics)


def calls(metrics: Metrics) -> float | None:
    return value(read(metrics), "gateway_requests_total", **CALLS, key="app", status="200")


def test_what_each_has_counted_is_added_up(tmp_path: Path) -> None:
    told(tmp_path, worked(3), worked(4))
    metrics = added_up(tmp_path)
    samples = read(metrics)
    assert calls(metrics) == 7
    assert value(samples, "gateway_request_duration_seconds_count", **CALLS) == 7
    assert value(samples, "gateway_request_duration_seconds_sum", **CALLS) == 14.0
    assert value(samples, "gateway_request_duration_seconds_bucket", **CALLS, le="2.5") == 7


def test_whoever_is_asked_next_tells_no_less(tmp_path: Path) -> None:
    one, other = worked(0), worked(0)
    told(tmp_path, one, other)
    one(settled())
    Shared(tmp_path, "worker-0").exposition(one)
    other(settled())
    assert b'status="200"} 2.0' in Shared(tmp_path, "worker-1").exposition(other)


def test_what_is_now_is_put_together_as_its_meaning_wants_it(tmp_path: Path) -> None:
    one, other = Metrics(), Metrics()
    place = ("m", "p", "t")
    for metrics, under_way, state, shared, digest in ((one, 2, 0, True, "new"), (other, 3, 2, False, "old")):
        metrics.entered(under_way)
        metrics.behind(under_way)
        metrics.targets([(place, state)])
        metrics.limits_are_shared(shared)
        metrics.running(digest)
    told(tmp_path, one, other)
    samples = read(added_up(tmp_path))
    assert value(samples, "gateway_in_flight_requests") == 5
    assert value(samples, "gateway_ledger_backlog") == 5
    assert value(samples, "gateway_target_state", model="m", provider="p", target="t") == 2
    assert value(samples, "gateway_limits_shared") == 0
    assert [value(samples, "gateway_config_info", hash=digest) for digest in ("new", "old")] == [1, 1]


def test_time_and_memory_are_those_of_all_processes(tmp_path: Path) -> None:
    one, other = Metrics(), Metrics()
    one.look_at_process()
    other.look_at_process()
    if not (alone := value(read(one), "process_resident_memory_bytes")):
        pytest.skip("the system tells nothing of processes")
    told(tmp_path, one, other)
    samples = read(added_up(tmp_path))
    assert value(samples, "process_resident_memory_bytes") == pytest.approx(2 * alone, rel=0.1)
    assert (value(samples, "process_cpu_seconds_total") or 0) > (value(read(one), "process_cpu_seconds_total") or 0)
    assert value(samples, "process_max_fds") == value(read(one), "process_max_fds")


def test_what_the_departed_had_counted_stays_and_what_they_were_at_goes(tmp_path: Path) -> None:
    one, other = worked(3), worked(4)
    one.entered(1)
    told(tmp_path, one, other)
    depart(tmp_path, "worker-0")
    depart(tmp_path, "worker-1")
    metrics = added_up(tmp_path)
    assert calls(metrics) == 7
    assert value(read(metrics), "gateway_in_flight_requests") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["departed.json"]


def test_who_is_found_among_the_living_and_the_departed_counts_once(tmp_path: Path) -> None:
    told(tmp_path, worked(3))
    written = (tmp_path / "worker-0.json").read_bytes()
    depart(tmp_path, "worker-0")
    (tmp_path / "worker-0.json").write_bytes(written)
    assert calls(added_up(tmp_path)) == 3


def test_one_that_was_killed_before_it_wrote_anything_is_no_matter(tmp_path: Path) -> None:
    told(tmp_path, worked(3))
    (tmp_path / "worker-9.new").write_bytes(b'{"gateway_requests": [')
    depart(tmp_path, "worker-9")
    assert calls(added_up(tmp_path)) == 3
    assert not (tmp_path / "worker-9.new").exists()


def test_a_metric_that_only_a_newer_worker_has_is_passed_over() -> None:
    metrics = Metrics()
    metrics.add({**worked(1).totals(), "gateway_of_tomorrow": [(["x"], 1)]})
    assert calls(metrics) == 1
