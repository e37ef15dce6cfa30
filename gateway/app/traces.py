"""Traces, where the environment asks for them as it asks every program that knows OpenTelemetry.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway.config.snapshot import Provider

if TYPE_CHECKING:
    from gateway.sinks.traces import Traces

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"


def open_traces(
    environ: Mapping[str, str], providers: Callable[[], Mapping[str, Provider]], event: Callable[..., None]
) -> Traces | None:
    """None where nobody wants any; their library is only imported where somebody does.

    What stands in the way of them is told as an `event`, and stops nobody from starting.
    """
    if not wanted(environ):
        return None
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), SPOKEN)
    if protocol != SPOKEN:
        event("warning", "traces_off", message=f"Traces are sent by {SPOKEN}, and not by what {PROTOCOLS[1]} says.")
        return None
    try:
        from gateway.sinks.traces import Traces

        return Traces(providers)
    except ImportError:
        event("warning", "traces_off", message="Traces need a library more: pip install 'gateway[otel]'")
    except ValueError as error:
        event("warning", "traces_off", message=f"The OTEL_* variables make no sense: {error}")
    return None


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether there is somebody to send traces to, and nothing that forbids it."""
    return (
        any(environ.get(name) for name in ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp") in ("otlp", "")
    )
