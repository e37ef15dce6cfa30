"""The gateway as it would be run: a key that may use some models, metrics, and a log line for every call."""

from __future__ import annotations

import http.client
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import load
from bench.load import KEY, Job
from bench.process import Server, free_port, proxy_core, running

LOG_LATENESS = 2.0
"""Seconds that a log line may come after its answer: lines are gathered and written behind it."""
LEDGER_LATENESS = 10.0
"""Seconds that a record may be behind."""
CONFIGURATION = """
server: {{host: 127.0.0.1, port: {port}}}
providers:
  fake: {{type: openai_compatible, base_url: "http://127.0.0.1:{upstream_port}/v1", api_key: sk-upstream}}
  foreign: {{type: anthropic, base_url: "http://127.0.0.1:{upstream_port}/v1", api_key: sk-upstream}}
models:
  brisk: {{targets: [{{provider: fake, model: brisk}}]}}
  calm: {{targets: [{{provider: fake, model: calm}}]}}
  translated: {{targets: [{{provider: foreign, model: brisk}}]}}
keys:
  - name: bench
    key: {key}
    models: [brisk, calm, translated]
"""
LIMITS = """    limits: {{requests_per_minute: 100M, tokens_per_minute: 1000M, concurrent_requests: 1000}}
    budget: {{tokens: 1000M, every: day}}
state: {{database: "sqlite:///{folder}/ledger.db"}}
"""
"""Four limits for the key, none of which is reached, and every call in the ledger."""
SHARED = LIMITS.replace('db"', 'db", redis: "{redis}"')
"""The same, counted in Redis."""


@contextmanager
def serving(upstream: Server, folder: Path) -> Iterator[Server]:
    """The gateway from this checkout, with one worker."""
    with started([sys.executable], upstream, folder, signal.SIGTERM) as server:
        yield server


@contextmanager
def limited(upstream: Server, folder: Path, redis: str = "") -> Iterator[Server]:
    """The same with limits, a budget, the journal and the ledger. With `redis` the limits are counted there."""
    name = "shared" if redis else "limited"
    (own := folder / name).mkdir()
    text = CONFIGURATION + (SHARED if redis else LIMITS).replace("{folder}", str(own)).replace("{redis}", redis)
    with started([sys.executable], upstream, own, signal.SIGTERM, text) as server:
        yield replace(server, name=name)


@contextmanager
def profiled(upstream: Server, folder: Path, profile: Path) -> Iterator[Server]:
    """The same under cProfile, which has written to `profile` when the block has ended.

    It ends as by Ctrl-C, because SIGTERM in the end kills the process, and the profile with it.
    """
    with started([sys.executable, "-m", "cProfile", "-o", profile], upstream, folder, signal.SIGINT) as server:
        yield server


@contextmanager
def started(
    python: Sequence[str | Path],
    upstream: Server,
    folder: Path,
    end: signal.Signals,
    configuration: str = CONFIGURATION,
) -> Iterator[Server]:
    port = free_port()
    file = folder / "gateway.yaml"
    file.write_text(configuration.format(port=port, upstream_port=upstream.port, key=KEY))
    # An installed package has its bytecode; a checkout may be kept free of it, and would be compiled at every start.
    bytecode = ["env", "-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={folder / 'bytecode'}"]
    command = [*bytecode, *python, "-m", "gateway", "serve", "--config", str(file)]
    log, ready = log_file(folder), "/healthz/ready"
    with running("gateway", command, port=port, ready=ready, log=log, cores=proxy_core(), end=end) as server:
        yield server


def log_file(folder: Path) -> Path:
    return folder / "gateway.log"


def calls_counted(server: Server) -> int:
    """How many calls the gateway's metrics tell of."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("gateway_requests_total{"))


def log_lines(folder: Path) -> int:
    return log_file(folder).read_bytes().count(b"\n")


def check_all_is_in_the_ledger(server: Server, folder: Path) -> None:
    """Raises RuntimeError if a call is missing there."""
    counted, until = calls_counted(server), time.monotonic() + LEDGER_LATENESS
    with closing(sqlite3.connect(folder / server.name / "ledger.db")) as ledger:
        while (kept := ledger.execute("SELECT count(*) FROM records").fetchone()[0]) < counted:
            if time.monotonic() > until:
                raise RuntimeError(f"{kept} of {counted} calls are in the ledger")
            time.sleep(0.1)


def check_all_is_on(server: Server, folder: Path, calls: int = 100) -> None:
    """Raises RuntimeError if a call is missing from the metrics or the log: what does no work costs nothing."""
    counted, logged = calls_counted(server), log_lines(folder)
    load.run(Job(server.port, 1, requests=calls))
    if calls_counted(server) - counted != calls:
        raise RuntimeError("the metrics do not tell of every call")
    until = time.monotonic() + LOG_LATENESS
    while log_lines(folder) - logged < calls and time.monotonic() < until:
        time.sleep(0.02)
    if log_lines(folder) - logged < calls:
        raise RuntimeError("the log does not tell of every call")
