"""Metric names and labels are a promise. Values are counted by hand here, and read back as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.core.call import Call, Target
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Usage
from gateway.engine.entry import Entry
from gateway.policy.estimate import Estimates
from gateway.sinks.metrics import Metrics

PROMISED = {
    "gateway_requests": ("endpoint", "model", "provider", "key", "status"),
    "gateway_request_duration_seconds": ("endpoint", "model", "provider"),
    "gateway_time_to_first_token_seconds": ("model", "provider"),
    "gateway_overhead_seconds": ("endpoint",),
    "gateway_tokens": ("key", "model", "provider", "type"),
    "gateway_usage_missing": ("model", "provider"),
    "gateway_upstream_attempts": ("model", "provider", "outcome"),
    "gateway_failovers": ("model", "provider", "reason"),
    "gateway_cost_dollars": ("key", "model", "provider"),
    "gateway_price_missing": ("model", "provider"),
    "gateway_rate_limited": ("key", "limit"),
    "gateway_in_flight_requests": (),
    "gateway_target_state": ("model", "provider", "target"),
    "gateway_redis_errors": ("kind",),
    "gateway_ledger_backlog": (),
    "gateway_limits_shared": (),
    "gateway_config_info": ("hash",),
    "gateway_config_reloads": ("result",),
    "gateway_event_loop_lag_seconds": (),
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(metrics: Metrics) -> Samples:
    """Every sample as Prometheus' own parser reads it, by name and sorted labels."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def settled(**about: object) -> Entry:
    call = Call("id", "chat", "asked", True, False, {})
    entry = Entry("id", "chat", 10.0, 1e9, key="app", model="m", call=call, target=Target("p", "up", {}), status=200)
    for name, what in about.items():
        setattr(entry, name, what)
    entry.settle(12.0, Estimates())
    return entry


def test_every_promised_metric_is_there_with_its_labels() -> None:
    metrics = Metrics()
    families = {family.name: family.labels for family in metrics._families}
    assert families == PROMISED


def test_a_call_is_counted_under_names_from_the_configuration() -> None:
    metrics = Metrics()
    metrics(settled())
    samples = read(metrics)
    labels = {"endpoint": "chat", "model": "m", "provider": "p"}
    assert value(samples, "gateway_requests_total", **labels, key="app", status="200") == 1
    assert value(samples, "gateway_request_duration_seconds_sum", **labels) == 2.0
    assert value(samples, "gateway_request_duration_seconds_count", **labels) == 1


def test_a_model_that_is_not_configured_becomes_other() -> None:
    metrics = Metrics()
    metrics(settled(model="", target=None, status=404))
    labels = {"endpoint": "chat", "model": "other", "provider": "", "key": "app", "status": "404"}
    assert value(read(metrics), "gateway_requests_total", **labels) == 1


def test_tokens_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics(settled(usage=Usage(100, 50, cache_read=30, reasoning=20)))
    labels = {"key": "app", "model": "m", "provider": "p"}
    counted = {
        kind: value(read(metrics), "gateway_tokens_total", **labels, type=kind)
        for kind in ("input", "output", "cache_read", "cache_write", "reasoning")
    }
    assert counted == {"input": 100, "output": 50, "cache_read": 30, "cache_write": None, "reasoning": 20}


def test_an_answer_without_usage_is_told_as_missing() -> None:
    metrics = Metrics()
    metrics(settled(carried=10))
    metrics(settled(usage=Usage(1, 1)))
    assert value(read(metrics), "gateway_usage_missing_total", model="m", provider="p") == 1


def test_a_failed_call_is_not_told_as_missing_usage() -> None:
    metrics = Metrics()
    entry = settled(status=0)
    entry.failed(UpstreamError(Failure.SERVER_ERROR, "no"))
    metrics(entry)
    assert value(read(metrics), "gateway_usage_missing_total", model="m", provider="p") is None


def test_attempts_and_what_they_led_to() -> None:
    metrics = Metrics()
    entry = settled()
    entry.begin(Target("a", "x", {}), 10)
    entry.note(Failure.RATE_LIMITED, 11)
    entry.begin(Target("b", "x", {}), 11)
    entry.note("ok", 12)
    metrics(entry)
    samples = read(metrics)
    assert value(samples, "gateway_upstream_attempts_total", model="m", provider="a", outcome="rate_limited") == 1
    assert value(samples, "gateway_upstream_attempts_total", model="m", provider="b", outcome="ok") == 1
    assert value(samples, "gateway_failovers_total", model="m", provider="a", reason="rate_limited") == 1
    assert value(samples, "gateway_failovers_total", model="m", provider="b", reason="ok") is None


def test_time_to_first_token_counts_for_streams_alone() -> None:
    metrics = Metrics()
    metrics(settled())
    metrics(settled(first_token=10.7))
    samples = read(metrics)
    assert value(samples, "gateway_time_to_first_token_seconds_count", model="m", provider="p") == 1
    assert value(samples, "gateway_time_to_first_token_seconds_bucket", model="m", provider="p", le="0.5") == 0
    assert value(samples, "gateway_time_to_first_token_seconds_bucket", model="m", provider="p", le="1.0") == 1


def test_buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    for seconds in (0.0001, 0.0002, 0.02, 7.0):
        metrics.lag(seconds)
    samples = read(metrics)
    counts = {le: value(samples, "gateway_event_loop_lag_seconds_bucket", le=le) for le in ("0.0002", "0.025", "+Inf")}
    assert counts == {"0.0002": 2, "0.025": 3, "+Inf": 4}


def test_calls_under_way_go_up_and_down() -> None:
    metrics = Metrics()
    metrics.entered(1)
    metrics.entered(1)
    metrics.entered(-1)
    assert value(read(metrics), "gateway_in_flight_requests") == 1


def test_only_the_configuration_in_force_is_told() -> None:
    metrics = Metrics()
    metrics.running("old")
    metrics.running("new")
    samples = read(metrics)
    assert value(samples, "gateway_config_info", hash="new") == 1
    assert value(samples, "gateway_config_info", hash="old") is None
