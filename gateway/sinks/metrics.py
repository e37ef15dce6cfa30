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

from gateway.core.errors import LimitExceeded
from gateway.core.events import Usage
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.engine.entry import Entry, Tried

Labels = tuple[str, ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CALLS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""Seconds. Model calls take from a tenth of a second to ten minutes."""
QUICK = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Seconds. What the gateway itself takes: below a millisecond, unless something is wrong."""

OTHER = "other"


class Cell:
    """One counter of a family. Whoever counts often keeps it at hand, which spares the look-up by labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter:
    """A family of counters: one cell per combination of label values."""

    def __init__(self, name: str, help_text: str, labels: Labels, scale: int = 1) -> None:
        self.name, self.help_text, self.labels, self.scale = name, help_text, labels, scale
        """`scale` is how many of what is counted make one of what is shown."""
        self.series: defaultdict[Labels, Cell] = defaultdict(Cell)

    def collect(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, cell in self.series.items():
            family.add_metric(labels, cell.value if self.scale == 1 else cell.value / self.scale)
        return family


Series = list[float]
"""Of one histogram: its bucket counts, the last one open-ended, and then the sum."""


class Histogram:
    """A family of histograms: one series per combination of label values."""

    def __init__(self, name: str, help_text: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.name, self.help_text, self.labels, self.bounds = name, help_text, labels, tuple(bounds)
        self.series: defaultdict[Labels, Series] = defaultdict(lambda: [0.0] * (len(self.bounds) + 2))

    def observe(self, series: Series, seconds: float) -> None:
        """Counts one value in a series of this family."""
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
        self.cost = Counter("gateway_cost_dollars", "What calls cost", ("key", "model", "provider"), MICROS_PER_DOLLAR)
        self.price_missing = Counter(
            "gateway_price_missing", "Calls that cost something nobody knows", ("model", "provider")
        )
        self.rate_limited = Counter(
            "gateway_rate_limited", "Calls that a key's limits left no room for", ("key", "limit")
        )
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
        self.target_state = Gauge(
            "gateway_target_state",
            "Where calls may go now: 0 ready, 1 cooling down, 2 ejected",
            ("model", "provider", "target"),
        )
        self.ledger_backlog = Gauge("gateway_ledger_backlog", "Records of calls that are not in the database yet")
        self.limits_shared = Gauge(
            "gateway_limits_shared", "Whether limits are counted with all other replicas: 1, or by shares: 0"
        )
        self.redis_errors = Counter("gateway_redis_errors", "What went wrong with Redis", ("kind",))
        self.config_info = Gauge("gateway_config_info", "The configuration in force, by its SHA-256", ("hash",))
        self.loop_lag = Histogram(
            "gateway_event_loop_lag_seconds", "How late the event loop runs what is due", (), QUICK
        )
        self._rows: dict[Labels, _Row] = {}
        self._families = [family for family in vars(self).values() if isinstance(family, Counter | Histogram | Gauge)]
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        return [family.collect() for family in self._families]

    def exposition(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)

    @property
    def calls_under_way(self) -> bool:
        """Whether there are any."""
        return self.in_flight.series[()] > 0

    def entered(self, change: int) -> None:
        """A call has come (+1) or gone (-1)."""
        self.in_flight.series[()] += change

    def running(self, digest: str) -> None:
        """This configuration is in force."""
        self.config_info.series = {(digest,): 1}

    def targets(self, standings: Iterable[tuple[Labels, int]]) -> None:
        """Each target of each model stands there now."""
        self.target_state.series = dict(standings)

    def behind(self, records: int) -> None:
        """So many records wait on the disk to be carried into the database."""
        self.ledger_backlog.series[()] = records

    def limits_are_shared(self, shared: bool) -> None:
        """Limits are counted in Redis, or are not any more."""
        self.limits_shared.series[()] = float(shared)

    def redis_failed(self, kind: str) -> None:
        """Redis did not do what it was asked to."""
        self.redis_errors.series[kind,].value += 1

    def lag(self, seconds: float) -> None:
        """The event loop was late by this."""
        self.loop_lag.observe(self.loop_lag.series[()], seconds)

    def __call__(self, entry: Entry) -> None:
        """Counts one settled call."""
        labels = (entry.endpoint, entry.model or OTHER, entry.provider, entry.key)
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = _Row(self, *labels)
        row.status(entry.status).value += 1
        self.duration.observe(row.duration, entry.latency)
        self.overhead.observe(row.overhead, entry.overhead(entry.ended))
        if entry.first_token is not None:
            self.first_token.observe(self.first_token.series[row.way], entry.first_token - entry.started)
        if entry.usage_source != "reported" and (entry.outcome == "ok" or entry.committed):
            self.usage_missing.series[row.way].value += 1
        if entry.usage is not None:
            self._count_tokens(entry.usage, row)
            if entry.cost is None:
                self.price_missing.series[row.way].value += 1
            else:
                self.cost.series[row.payer].value += entry.cost
        if isinstance(entry.error, LimitExceeded):
            self.rate_limited.series[entry.key, entry.error.what].value += 1
        self._count_attempts(entry.tried, row)

    def _count_tokens(self, usage: Usage, row: _Row) -> None:
        row.input.value += usage.input
        row.output.value += usage.output
        if usage.cache_read or usage.cache_write or usage.reasoning:
            for kind in ("cache_read", "cache_write", "reasoning"):
                if count := getattr(usage, kind):
                    self.tokens.series[*row.payer, kind].value += count

    def _count_attempts(self, tried: Sequence[Tried], row: _Row) -> None:
        model = row.way[0]
        for each in tried:
            self.attempts.series[model, each.provider, each.outcome].value += 1
        for each in tried[:-1]:
            self.failovers.series[model, each.provider, each.outcome].value += 1


class _Row:
    """The cells and series that calls of one key to one model at one provider have in common."""

    __slots__ = ("_labels", "_requests", "_statuses", "duration", "input", "output", "overhead", "payer", "way")

    def __init__(self, metrics: Metrics, endpoint: str, model: str, provider: str, key: str) -> None:
        self._labels = (endpoint, model, provider, key)
        self.way = (model, provider)
        self.payer = (key, model, provider)
        self.duration = metrics.duration.series[endpoint, model, provider]
        self.overhead = metrics.overhead.series[endpoint,]
        self.input = metrics.tokens.series[*self.payer, "input"]
        self.output = metrics.tokens.series[*self.payer, "output"]
        self._requests = metrics.requests
        self._statuses: dict[int, Cell] = {}

    def status(self, status: int) -> Cell:
        cell = self._statuses.get(status)
        if cell is None:
            cell = self._statuses[status] = self._requests.series[*self._labels, str(status)]
        return cell
