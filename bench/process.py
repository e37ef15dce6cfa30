"""Starting the servers that are measured, and stopping them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120.0
"""Seconds a server may take to come up: LiteLLM's first start on a cold disk takes most of a minute."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers on 127.0.0.1."""

    name: str
    port: int
    pid: int
    start_up: float
    """Seconds from its start to its first good answer."""
    model: str = "brisk"
    """What it is asked for."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def proxy_core() -> set[int]:
    """The core that the measured server has for itself: the first, if there is another for the load."""
    return {min(os.sched_getaffinity(0))}


def other_cores() -> set[int]:
    """Where the load and the upstream run."""
    return os.sched_getaffinity(0) - proxy_core() or proxy_core()


def spawn(command: Sequence[str | Path], *, cores: set[int], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a command on some cores. Where its output goes to a file, its complaints go there too."""
    errors = None if output == subprocess.PIPE else subprocess.STDOUT
    confine = partial(os.sched_setaffinity, 0, cores)
    return subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT, preexec_fn=confine)


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answers(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not answer; it said:\n{log.read_text()[-4000:]}")
        time.sleep(0.002)


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    ready: str,
    log: Path,
    cores: set[int],
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[Server]:
    """Runs a command on some cores until the block ends; `ready` is the path that answers 200 once it is up."""
    began = time.monotonic()
    with log.open("ab") as output:
        process = spawn(command, cores=cores, output=output)
    try:
        wait_until_ready(process, port, ready, log)
        yield Server(name, port, process.pid, time.monotonic() - began)
    finally:
        stop(process, end)


def stop(process: subprocess.Popen[bytes], end: signal.Signals) -> None:
    process.send_signal(end)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def upstream(folder: Path) -> Iterator[Server]:
    """The provider behind every proxy."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with running("direct", command, port=port, ready="/", log=folder / "upstream.log", cores=other_cores()) as server:
        yield server
