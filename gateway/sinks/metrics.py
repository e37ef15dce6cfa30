"""Prometheus metrics. Counted in plain dictionaries and turned into Prometheus' own objects only when somebody looks:
`prometheus_client`'s counters cost 2 to 5 us each, on a path that has nine of them.

Label values come from the configuration and from closed lists of ours. Nothing that a client sends becomes one.
"""

# ruff: noqa: RUF009  the calls in the table of families give fields of a dataclass

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.core.errors import LimitExceeded
from gateway.core.events import Usage
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.engine.entry import Entry, Tried
from gateway.sinks.litellm_names import litellm_names

Labels = tuple[str, ...]

Totals = Mapping[str, Sequence[tuple[Sequence[str], Any]]]
"""What families have counted, by their names: for each series its label values, and then its value. Made for JSON."""

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
        self.value: float = 0


class Counter:
    """A family of counters: one cell per combination of label values."""

    def __init__(self, name: str, help_text: str, labels: Labels, scale: int = 1) -> None:
        self.name, self.help_text, self.labels, self.scale = name, help_text, labels, scale
        """`scale` is how many of what is counted make one of what is shown."""
        self.series: defaultdict[Labels, Cell] = defaultdict(Cell)

    def totals(self) -> Iterator[tuple[Labels, float]]:
        return ((labels, cell.value) for labels, cell in self.series.items())

    def add(self, labels: Labels, value: float) -> None:
        """Adds what another process has counted."""
        self.series[labels].value += value

    def set(self, value: float) -> None:
        """Takes over what somebody else counts, in a family without labels."""
        self.series[()].value = value

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
        self.name, self.help_text, self.labels, self.bounds = name, help_text, labels, tuple(map(float, bounds))
        self.series: defaultdict[Labels, Series] = defaultdict(lambda: [0.0] * (len(self.bounds) + 2))

    def observe(self, series: Series, seconds: float) -> None:
        """Counts one value in a series of this family."""
        series[bisect_left(self.bounds, seconds)] += 1
        series[-1] += seconds

    def totals(self) -> Iterator[tuple[Labels, Series]]:
        return iter(self.series.items())

    def add(self, labels: Labels, value: Series) -> None:
        """Adds what another process has counted."""
        self.series[labels] = list(map(add, self.series[labels], value))

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, (*counts, total) in self.series.items():
            buckets, seen = [], 0.0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
                seen += count
                buckets.append((floatToGoString(bound), seen))  # type: ignore[no-untyped-call]
            family.add_metric(labels, buckets, total)
        return family


Merge = Callable[[float, float], float]
"""How the values that two processes have for the same thing become one."""


class Gauge:
    """A family of values that go up and down."""

    def __init__(self, name: str, help_text: str, labels: Labels = (), merge: Merge = add) -> None:
        self.name, self.help_text, self.labels, self.merge = name, help_text, labels, merge
        self.series: dict[Labels, float] = {}

    def totals(self) -> Iterator[tuple[Labels, float]]:
        return iter(self.series.items())

    def add(self, labels: Labels, value: float) -> None:
        """Adds what another process has to say of it."""
        known = self.series.get(labels)
        self.series[labels] = value if known is None else self.merge(known, value)

    def set(self, value: float) -> None:
        """It is so now, in a family without labels."""
        self.series[()] = value

    def collect(self) -> Metric:
        family = GaugeMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, value in self.series.items():
            family.add_metric(labels, value)
        return family


def counter(name: str, help_text: str, labels: Labels, scale: int = 1) -> Any:
    """A family of counters, as a field of what holds it."""
    return field(init=False, default_factory=partial(Counter, name, help_text, labels, scale))


def histogram(name: str, help_text: str, labels: Labels, bounds: Sequence[float]) -> Any:
    """A family of histograms, likewise."""
    return field(init=False, default_factory=partial(Histogram, name, help_text, labels, bounds))


def gauge(name: str, help_text: str, labels: Labels = (), merge: Merge = add) -> Any:
    """A family of gauges, likewise."""
    return field(init=False, default_factory=partial(Gauge, name, help_text, labels, merge))


WAY, PAYER = ("model", "provider"), ("key", "model", "provider")


@dataclass(eq=False, repr=False)
class Metrics(Collector):
    """Every metric of the gateway. Names and labels are a promise: dashboards and alerts are written against them."""

    also_litellms: bool = False
    """Whether the same is told under LiteLLM's names, too."""
    requests: Counter = counter("gateway_requests", "Calls, by how they ended", ("endpoint", *WAY, "key", "status"))
    duration: Histogram = histogram(
        "gateway_request_duration_seconds", "From request to the end of the answer", ("endpoint", *WAY), CALLS
    )
    first_token: Histogram = histogram(
        "gateway_time_to_first_token_seconds", "From request to first output of a stream", WAY, CALLS
    )
    overhead: Histogram = histogram(
        "gateway_overhead_seconds", "Time of a call not spent waiting for an upstream", ("endpoint",), QUICK
    )
    tokens: Counter = counter("gateway_tokens", "Tokens, by kind", (*PAYER, "type"))
    cost: Counter = counter("gateway_cost_dollars", "What calls cost", PAYER, MICROS_PER_DOLLAR)
    price_missing: Counter = counter("gateway_price_missing", "Calls that cost something nobody knows", WAY)
    rate_limited: Counter = counter(
        "gateway_rate_limited", "Calls that a key's limits left no room for", ("key", "limit")
    )
    usage_missing: Counter = counter("gateway_usage_missing", "Answers whose provider reported no usage", WAY)
    attempts: Counter = counter(
        "gateway_upstream_attempts", "Attempts at providers, by how they ended", (*WAY, "outcome")
    )
    failovers: Counter = counter("gateway_failovers", "Attempts after which another one was made", (*WAY, "reason"))
    in_flight: Gauge = gauge("gateway_in_flight_requests", "Calls under way")
    target_state: Gauge = gauge(
        "gateway_target_state", "Where calls may go now: 0 ready, 1 cooling down, 2 ejected", (*WAY, "target"), max
    )
    ledger_backlog: Gauge = gauge("gateway_ledger_backlog", "Records of calls that are not in the database yet")
    limits_shared: Gauge = gauge(
        "gateway_limits_shared", "Whether limits are counted with all other replicas: 1, or by shares: 0", merge=min
    )
    redis_errors: Counter = counter("gateway_redis_errors", "What went wrong with Redis", ("kind",))
    config_info: Gauge = gauge("gateway_config_info", "The configuration in force, by its SHA-256", ("hash",), max)
    reloads: Counter = counter("gateway_config_reloads", "Readings of a changed configuration", ("result",))
    loop_lag: Histogram = histogram(
        "gateway_event_loop_lag_seconds", "How late the event loop runs what is due", (), QUICK
    )

    def __post_init__(self) -> None:
        self.in_flight.set(0)
        for result in ("ok", "failed"):  # from the beginning, so that the first one is seen as an increase
            self.reloads.series[result,].value += 0
        self._families = [family for family in vars(self).values() if isinstance(family, Counter | Histogram | Gauge)]
        self._process = _process()
        self._rows: dict[Labels, _Row] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        families = [family.collect() for family in self._everything()]
        return [*families, *litellm_names(families)] if self.also_litellms else families

    def _everything(self) -> Iterator[Counter | Histogram | Gauge]:
        yield from self._families
        yield from self._process.values()

    def totals(self) -> Totals:
        """Everything, for `add` in another process."""
        return {family.name: tuple(family.totals()) for family in self._everything()}

    def lasting(self) -> Totals:
        """What stays true when the process is gone: all but gauges."""
        return {family.name: tuple(family.totals()) for family in self._everything() if not isinstance(family, Gauge)}

    def add(self, totals: Totals) -> None:
        """Adds what another process says. What only that one knows of is passed over: it may be of another version."""
        for family in self._everything():
            for labels, value in totals.get(family.name, ()):
                family.add(tuple(labels), value)

    def exposition(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)

    def entered(self, change: int) -> None:
        """A call has come (+1) or gone (-1)."""
        self.in_flight.series[()] += change

    def running(self, digest: str) -> None:
        """This configuration is in force."""
        self.config_info.series = {(digest,): 1}

    def reloaded(self, result: str) -> None:
        """The configuration was read once more: `ok` or `failed`."""
        self.reloads.series[result,].value += 1

    def targets(self, standings: Iterable[tuple[Labels, int]]) -> None:
        """Each target of each model stands there now."""
        self.target_state.series = dict(standings)

    def behind(self, records: int) -> None:
        """So many records wait on the disk to be carried into the database."""
        self.ledger_backlog.set(records)

    def limits_are_shared(self, shared: bool) -> None:
        """Limits are counted in Redis, or are not any more."""
        self.limits_shared.set(float(shared))

    def redis_failed(self, kind: str) -> None:
        """Redis did not do what it was asked to."""
        self.redis_errors.series[kind,].value += 1

    def look_at_process(self) -> None:
        """This process takes so much memory and time now, where the system tells it (Linux)."""
        for metric in PROCESS.collect():
            if metric.name in self._process:
                self._process[metric.name].set(metric.samples[0].value)

    def lag(self, seconds: float) -> None:
        """The event loop was late by this."""
        self.loop_lag.observe(self.loop_lag.series[()], seconds)

    def __call__(self, entry: Entry) -> None:
        """Counts one settled call."""
        provider = entry.target.provider if entry.target else ""
        labels = (entry.endpoint, entry.model or OTHER, provider, entry.key)
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
            if each is not tried[-1]:
                self.failovers.series[model, each.provider, each.outcome].value += 1


PROCESS = ProcessCollector(registry=None)


def _process() -> dict[str, Counter | Gauge]:
    """What Prometheus' own collector tells of a process, by name, and how that of several is put together."""
    families = (
        Counter("process_cpu_seconds", "User and system CPU time spent in seconds, by all workers.", ()),
        Gauge("process_resident_memory_bytes", "Resident memory size in bytes, of all workers."),
        Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes, of all workers."),
        Gauge("process_start_time_seconds", "When the oldest worker started, in seconds since 1970.", merge=min),
        Gauge("process_open_fds", "Open file descriptors, of the worker that has most.", merge=max),
        Gauge("process_max_fds", "Maximum number of open file descriptors, of each worker.", merge=min),
    )
    return {family.name: family for family in families}


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
