"""Whoever traces are sent to: a receiver of OTLP over HTTP on a real socket, that reads what it gets as protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"

Value = str | bool | int | float


@dataclass
class Collector:
    """What has arrived."""

    port: int = 0
    paths: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Set unless the test wants it to stay silent."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        """All of them: first what a call is, then its attempts."""
        scopes = [scope for body in self.bodies for each in _read(body).resource_spans for scope in each.scope_spans]
        spans = [span for scope in scopes for span in scope.spans]
        return sorted(spans, key=lambda span: (span.start_time_unix_nano, span.kind))

    @property
    def resource(self) -> dict[str, Value]:
        """What the last sender says of itself."""
        return values(_read(self.bodies[-1]).resource_spans[0].resource.attributes)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
                headers = dict(each.lower().split(b": ", 1) for each in lines)
                self.bodies.append(await reader.readexactly(int(headers[b"content-length"])))
                self.paths.append(line)
                await self.answers.wait()
                writer.write(ANSWER)


def _read(body: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return request


def values(attributes: list[KeyValue]) -> dict[str, Value]:
    """Attributes as plain values."""
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes}


def told(span: Span) -> dict[str, Value]:
    """The attributes of a span."""
    return values(list(span.attributes))


@asynccontextmanager
async def collector(environ: pytest.MonkeyPatch, **settings: str) -> AsyncIterator[Collector]:
    """A receiver, and an environment in which gateways send their traces there, with other settings of OTEL's."""
    receiver = Collector()
    receiver.answers.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    for name, value in settings.items():
        environ.setenv(f"OTEL_{name}", value)
    try:
        yield receiver
    finally:
        receiver.answers.set()
        server.close()
        for connection in receiver.connections:
            connection.close()
            with suppress(ConnectionError):
                await connection.wait_closed()
