"""Prometheus metrics. Counted in plain dictionaries and turned into Prometheus' own objects only when somebody looks:
`prometheus_client`'s counters cost 2 to 5 us each, on a path that has nine of them.

Label values come from the configuration and from closed lists of ours. Nothing that a client sends becomes one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.engine.entry import Entry

Labels = tuple[str, ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CALLS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""Seconds. Model calls take from a tenth of a second to ten minutes."""
QUICK = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Seconds. What the gateway itself takes: below a millisecond, unless something is wrong."""

OTHER = "other"
NONE = ""


class Counter:
    """A family of counters: one number per combination of label values."""

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self.series: defaultdict[Labels, int] = defaultdict(int)

    def collect(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, value in self.series.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """A family of histograms. A series is its bucket counts, the last one open-ended, and then the sum."""

    def __init__(self, name: str, help_text: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.name, self.help_text, self.labels, self.bounds = name, help_text, labels, tuple(bounds)
        self.series: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = [0.0] * (len(self.bounds) + 2)
        series[bisect_left(self.bounds, seconds)] += 1
        series[-1] += seconds

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, (*counts, total) in self.series.items():
            buckets, seen = [], 0.0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
                seen += count
                buckets.append((floatToGoString(bound), seen))  # type: ignore[no-untyped-call]
            family.add_metric(labels, buckets, total)
        return family


class Gauge:
    """A family of values that go up and down."""

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self.series: dict[Labels, float] = {}

    def collect(self) -> Metric:
        family = GaugeMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, value in self.series.items():
            family.add_metric(labels, value)
        return family


class Metrics(Collector):
    """Every metric of the gateway. Names and labels are a promise: dashboards and alerts are written against them."""

    def __init__(self) -> None:
        self.requests = Counter(
            "gateway_requests", "Calls, by how they ended", ("endpoint", "model", "provider", "key", "status")
        )
        self.duration = Histogram(
            "gateway_request_duration_seconds",
            "From request to the end of the answer",
            ("endpoint", "model", "provider"),
            CALLS,
        )
        self.first_token = Histogram(
            "gateway_time_to_first_token_seconds",
            "From request to first output of a stream",
            ("model", "provider"),
            CALLS,
        )
        self.overhead = Histogram(
            "gateway_overhead_seconds", "Time of a call not spent waiting for an upstream", ("endpoint",), QUICK
        )
        self.tokens = Counter("gateway_tokens", "Tokens, by kind", ("key", "model", "provider", "type"))
        self.usage_missing = Counter(
            "gateway_usage_missing", "Answers whose provider reported no usage", ("model", "provider")
        )
        self.attempts = Counter(
            "gateway_upstream_attempts", "Attempts at providers, by how they ended", ("model", "provider", "outcome")
        )
        self.failovers = Counter(
            "gateway_failovers", "Attempts after which another one was made", ("model", "provider", "reason")
        )
        self.in_flight = Gauge("gateway_in_flight_requests", "Calls under way")
        self.in_flight.series[()] = 0
        self.config_info = Gauge("gateway_config_info", "The configuration in force, by its SHA-256", ("hash",))
        self.loop_lag = Histogram(
            "gateway_event_loop_lag_seconds", "How late the event loop runs what is due", (), QUICK
        )
        self._families = [family for family in vars(self).values() if isinstance(family, Counter | Histogram | Gauge)]
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        return [family.collect() for family in self._families]

    def exposition(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)

    def entered(self, change: int) -> None:
        """A call has come (+1) or gone (-1)."""
        self.in_flight.series[()] += change

    def running(self, digest: str) -> None:
        """This configuration is in force."""
        self.config_info.series = {(digest,): 1}

    def __call__(self, entry: Entry) -> None:
        """Counts one settled call."""
        model, provider, key = entry.model or OTHER, entry.provider or NONE, entry.key or NONE
        self.requests.series[(entry.endpoint, model, provider, key, str(entry.status))] += 1
        self.duration.observe((entry.endpoint, model, provider), entry.latency)
        self.overhead.observe((entry.endpoint,), entry.overhead(entry.ended))
        if entry.first_token is not None:
            self.first_token.observe((model, provider), entry.first_token - entry.started)
        self._count_attempts(entry, model)
        self._count_tokens(entry, key, model, provider)

    def _count_attempts(self, entry: Entry, model: str) -> None:
        for tried in entry.tried:
            self.attempts.series[(model, tried.provider, tried.outcome)] += 1
        for tried in entry.tried[:-1]:
            self.failovers.series[(model, tried.provider, tried.outcome)] += 1

    def _count_tokens(self, entry: Entry, key: str, model: str, provider: str) -> None:
        if entry.usage_source != "reported" and (entry.outcome == "ok" or entry.committed):
            self.usage_missing.series[(model, provider)] += 1
        if (usage := entry.usage) is None:
            return
        series = self.tokens.series
        series[(key, model, provider, "input")] += usage.input
        series[(key, model, provider, "output")] += usage.output
        for kind, count in (
            ("cache_read", usage.cache_read),
            ("cache_write", usage.cache_write),
            ("reasoning", usage.reasoning),
        ):
            if count:
                series[(key, model, provider, kind)] += count
