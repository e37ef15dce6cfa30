"""OpenTelemetry traces: a span for each call, and one within it for each attempt.

Spans are made from the settled entry, when the call is over: nothing of this stands on its path, but for the ids, which
a provider is told beforehand. They never hold a prompt, an answer, a secret, or what a client calls its user. They wait
in a queue of bounded length, and a thread of OpenTelemetry's sends them; what does not go in is lost.

Names are those of the conventions for generative AI, which are still in development, and our own, `gateway.*`:
https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from gateway import __version__
from gateway.config.snapshot import Provider
from gateway.core.errors import GatewayError, UpstreamError
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.core.record import TEXT, Record
from gateway.engine.entry import Entry, Tried
from gateway.engine.hedge import OUTPACED
from gateway.sinks.records import record
from gateway.wire.trace_context import Caller, Trace, caller

SENT_WITHIN = 2.0
"""Seconds that the end waits until the last spans are sent."""

NANO = 1_000_000_000

VENDORS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""What the conventions call vendors (`gen_ai.provider.name`) that have another name here."""

NO_FAILURE = frozenset({"ok", "cancelled", OUTPACED})
"""Outcomes of attempts for which nobody has to be blamed."""

FAILED = frozenset({"upstream_error", "truncated"})
"""Outcomes of calls that are errors whatever their status says. A server is not at fault for what it refuses."""

Attributes = dict[str, str | bool | int | float]


class Traces:
    """Begins a trace for each call, and is a sink for what came of it.

    Its settings are OpenTelemetry's, in the environment: `OTEL_EXPORTER_OTLP_*`, `OTEL_TRACES_SAMPLER*`, `OTEL_BSP_*`,
    `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`. Raises ValueError for some that make no sense.
    """

    def __init__(self, providers: Callable[[], Mapping[str, Provider]]) -> None:
        # Where a line of OTEL_EXPORTER_OTLP_HEADERS is malformed it is logged, and those hold credentials.
        logging.getLogger("opentelemetry.util.re").disabled = True
        self._providers = providers
        self._chance = RandomIdGenerator()
        self._ids = _KnownIds()
        own = {SERVICE_NAME: "gateway", SERVICE_VERSION: __version__}
        resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
        self._spans = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._spans.get_tracer("gateway", __version__)

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """The trace that these headers of a request ask to go on with, or a new one."""
        asking = caller(headers.get(b"traceparent", b""), headers.get(b"tracestate", b""))
        id = asking.trace_id if asking else self._chance.generate_trace_id()
        # The same question is asked again when the spans are made. The answer is, too: it follows from the ids.
        decided = self._spans.sampler.should_sample(_within(asking), id, "", SpanKind.SERVER).decision
        sampled = decided is Decision.RECORD_AND_SAMPLE
        return Trace(id, self._chance.generate_span_id(), sampled, self._chance.generate_span_id, asking)

    def __call__(self, entry: Entry) -> None:
        """One settled call."""
        if entry.trace is not None and entry.trace.sampled:
            self._tell_call(entry, entry.trace)
            here = set_span_in_context(NonRecordingSpan(_context(entry.trace.id, entry.trace.span_id, sampled=True)))
            for number, tried in enumerate(entry.tried, 1):
                self._tell_attempt(entry, entry.trace, here, tried, number)

    async def aclose(self) -> None:
        """Sends what still waits. Gives up on whoever is too slow to take it."""
        ending = threading.Thread(target=self._spans.shutdown, name="traces-end", daemon=True)
        ending.start()
        await asyncio.get_running_loop().run_in_executor(None, ending.join, SENT_WITHIN)

    def _tell_call(self, entry: Entry, trace: Trace) -> None:
        kept = record(entry)
        self._ids.next = (trace.id, trace.span_id)
        span = self._tracer.start_span(
            _name(kept.endpoint, kept.model),
            _within(trace.caller),
            SpanKind.SERVER,
            attributes=_of_call(entry, kept) | self._of_vendor(kept.provider),
            start_time=_moment(entry, entry.started),
        )
        if entry.first_token is not None:
            span.add_event("gateway.first_token", timestamp=_moment(entry, entry.first_token))
        if kept.status >= 500 or kept.outcome in FAILED:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_moment(entry, entry.ended))

    def _tell_attempt(self, entry: Entry, trace: Trace, here: Context, tried: Tried, number: int) -> None:
        self._ids.next = (trace.id, tried.span_id)
        span = self._tracer.start_span(
            _name(entry.endpoint, tried.model[:TEXT]),
            here,
            SpanKind.CLIENT,
            attributes=_of_attempt(entry, tried, number) | self._of_vendor(tried.provider) | self._of_server(tried),
            start_time=_moment(entry, tried.since),
        )
        if tried.outcome not in NO_FAILURE:
            span.set_status(Status(StatusCode.ERROR, tried.said[:TEXT] or None))
        span.end(_moment(entry, tried.since + tried.ms / 1000))

    def _of_vendor(self, provider: str) -> Attributes:
        known = self._providers().get(provider)
        return {"gen_ai.provider.name": VENDORS.get(known.vendor.name, known.vendor.name)} if known else {}

    def _of_server(self, tried: Tried) -> Attributes:
        known = self._providers().get(tried.provider)
        return _address(known.base_url) if known else {}


class _KnownIds(IdGenerator):
    """Gives a span the ids that were made before it was."""

    next = (0, 0)

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]


def _of_call(entry: Entry, kept: Record) -> Attributes:
    """Tokens are told here alone, of all attempts together: whoever adds up spans counts each of them once."""
    told: Attributes = {
        "gen_ai.operation.name": kept.endpoint,
        "http.response.status_code": kept.status,
        "gateway.request_id": entry.id,
        "gateway.outcome": kept.outcome,
        "gateway.attempts": len(kept.attempts),
        "gateway.overhead_ms": kept.overhead_ms,
        "gateway.usage_source": kept.usage_source,
    }
    there: dict[str, str | bool | int | float | None] = {
        "gateway.key": kept.key,
        "gen_ai.request.model": kept.model,
        "gen_ai.request.stream": kept.stream,
        "gen_ai.response.model": kept.upstream_model if kept.outcome == "ok" or entry.committed else None,
        "gen_ai.usage.input_tokens": kept.input_tokens,
        "gen_ai.usage.output_tokens": kept.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": kept.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": kept.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": kept.reasoning_tokens,
        "gen_ai.response.time_to_first_chunk": None if kept.first_token_ms is None else kept.first_token_ms / 1000,
        "error.type": _error(entry.error),
    }
    told.update((name, value) for name, value in there.items() if value)
    if kept.cost_micros is not None:
        told["gateway.cost_usd"] = kept.cost_micros / MICROS_PER_DOLLAR
    return told


def _of_attempt(entry: Entry, tried: Tried, number: int) -> Attributes:
    told: Attributes = {
        "gen_ai.operation.name": entry.endpoint,
        "gen_ai.request.model": tried.model[:TEXT],
        "gateway.provider": tried.provider,
        "gateway.attempt": number,
        "gateway.outcome": tried.outcome,
    }
    return told if tried.outcome in NO_FAILURE else told | {"error.type": tried.outcome}


def _error(error: GatewayError | None) -> str | None:
    """One of few words, which are all our own: a provider's code may be anything."""
    if isinstance(error, UpstreamError):
        return error.failure
    return None if error is None else error.code or error.type


def _name(endpoint: str, model: str) -> str:
    return f"{endpoint} {model}" if model else endpoint


def _moment(entry: Entry, time: float) -> int:
    """A time of the entry, in nanoseconds since 1970."""
    return int(entry.time * NANO) + int((time - entry.started) * NANO)


def _within(asking: Caller | None) -> Context:
    """Where a call's own span belongs. Never the caller of this code, which has no span."""
    if asking is None:
        return Context()
    state = TraceState(asking.state)
    context = _context(asking.trace_id, asking.span_id, sampled=asking.sampled, remote=True, state=state)
    return set_span_in_context(NonRecordingSpan(context), Context())


def _context(
    trace_id: int, span_id: int, *, sampled: bool, remote: bool = False, state: TraceState | None = None
) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, remote, flags, state)


@lru_cache(maxsize=256)
def _address(url: str) -> Attributes:
    there = urlsplit(url)
    if not there.hostname:
        return {}
    return {"server.address": there.hostname, "server.port": there.port or (80 if there.scheme == "http" else 443)}
