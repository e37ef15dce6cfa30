"""How the targets are, as the running gateway has it: read from its metrics, where the configuration has it listen.

Nobody else knows: health is kept by the process that makes the calls.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

import uvloop

from gateway.config.snapshot import Server, Snapshot
from gateway.core.call import UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Patience
from gateway.routing.health import Standing
from gateway.upstream.transport import HttpTransport, read_all

CONNECT = 0.5
"""Seconds for a connection. Where nothing listens, it is refused at once."""

ANSWER = 2.0
"""Seconds for the whole answer. A gateway under load may take a moment for its metrics."""

LARGEST_ANSWER = 64 * 2**20
"""Bytes: some hundred thousand series."""

STATES: Mapping[Standing, str] = {
    Standing.READY: "ready",
    Standing.COOLING_DOWN: "cooling down",
    Standing.EJECTED: "ejected",
}
"""In words."""

STYLES = {STATES[Standing.READY]: "green", STATES[Standing.COOLING_DOWN]: "yellow", STATES[Standing.EJECTED]: "red"}

Place = tuple[str, str, str]
"""A target: the public model it stands in, its provider, and the provider's name for the model, as configured."""


@dataclass(frozen=True, slots=True)
class Live:
    """What a running gateway says of its targets."""

    url: str
    """Where it was asked."""
    unknown: str = ""
    """Why nothing is known of them."""
    states: Mapping[Place, Standing] = field(default_factory=dict)

    def of(self, place: Place) -> str | None:
        """The state of a target, in words; None where it is not known. Of a pattern: the worst it stood for."""
        standing = self.states.get(place)
        return None if standing is None else STATES[standing]

    def worst(self, provider: str) -> str | None:
        """The worst state among a provider's targets."""
        standings = [standing for (_, name, _), standing in self.states.items() if name == provider]
        return STATES[max(standings)] if standings else None


def look(snapshot: Snapshot) -> Live:
    """Asks the gateway that runs on this configuration, if there is one. Takes two seconds at most."""
    url = address(snapshot.server)
    if not snapshot.server.port:
        return Live(url, "the configuration leaves the port to the system")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status, text = runner.run(_metrics(url, snapshot.server))
    except (UpstreamError, ValueError):  # ValueError: a host or a key that no request can hold
        return Live(url, f"no gateway answers at {url}")
    if status == 401:
        return Live(url, f"the gateway at {url} has another server.metrics_key")
    return read(text, url, snapshot.digest)


def address(server: Server) -> str:
    """The URL at which this machine reaches the server."""
    host = server.host.strip("[]")
    with suppress(ValueError):  # it is a name
        listening = ip_address(host)
        if listening.is_unspecified:
            host = "127.0.0.1" if listening.version == 4 else "::1"
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def read(text: str, url: str, digest: str) -> Live:
    """What the metrics say of a gateway that should run on the configuration with this digest."""
    found = list(samples(text))
    running = {sample.labels.get("hash") for sample in found if sample.name == "gateway_config_info"}
    if not running:
        return Live(url, f"what answers at {url} is no gateway")
    if digest not in running:
        return Live(url, f"the gateway at {url} runs another configuration")
    return Live(url, states=dict(_states(found)))


def _states(found: Iterable[Sample]) -> Iterator[tuple[Place, Standing]]:
    for name, labels, value in found:
        if name == "gateway_target_state":
            with suppress(LookupError, ValueError, OverflowError):  # a state that this command does not know
                yield (labels["model"], labels["provider"], labels["target"]), Standing(int(value))


class Sample(NamedTuple):
    """One value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


_SAMPLE = re.compile(r"(\w+)\{(.*)\} ([-+.\w]+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


def samples(text: str) -> Iterator[Sample]:
    """The series with labels in what Prometheus reads; what is anything else is passed over.

    https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    """
    for line in text.split("\n"):  # and at nothing else: other line breaks stand unescaped in labels
        if found := _SAMPLE.fullmatch(line):
            with suppress(ValueError):
                labels = {name: _ESCAPE.sub(_meant, value) for name, value in _LABEL.findall(found[2])}
                yield Sample(found[1], labels, float(found[3]))


def _meant(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]


async def _metrics(url: str, server: Server) -> tuple[int, str]:
    """The status and the text of the metrics. Raises UpstreamError."""
    key = server.metrics_key
    headers = ((b"authorization", b"Bearer " + key.reveal().encode()),) if key else ()
    async with aclosing(HttpTransport(url)) as transport:
        patience = Patience(asyncio.get_running_loop().time() + ANSWER, Failure.DEADLINE)
        request = UpstreamRequest("GET", f"{url}/metrics", headers, b"")
        exchange = await transport.send(request, connect=CONNECT, patience=patience)
        return exchange.status, (await read_all(exchange, LARGEST_ANSWER)).decode(errors="replace")
