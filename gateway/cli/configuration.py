"""Which configuration a command works on, a file or what the environment holds, and what is wrong with it."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from pathlib import Path

import orjson

from gateway.config.environment import Found, from_environment
from gateway.config.read import ConfigError
from gateway.config.resolve import load
from gateway.config.snapshot import Snapshot

OLLAMA = ("127.0.0.1", 11434)


def configured(config: Path | None) -> tuple[Snapshot, tuple[Found, ...]]:
    """The snapshot, and for one out of the environment what was found there. Raises ConfigError."""
    if config is not None:
        return load(config, os.environ), ()
    return from_environment(os.environ, ollama=_answers(OLLAMA))


def complain(error: ConfigError, *, as_json: bool) -> None:
    """Prints a configuration's complaints, one per line, as `FILE:LINE:COL: path: message`."""
    if as_json:
        told = {"ok": False, "complaints": [asdict(complaint) for complaint in error.complaints]}
        print(orjson.dumps(told).decode())
        return
    for complaint in error.complaints:
        print(complaint)


def _answers(address: tuple[str, int]) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection(address, timeout=0.2):
            return True
    except OSError:
        return False
