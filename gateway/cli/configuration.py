"""Which configuration a command works on: a file, or what the environment holds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from gateway.config.environment import Found, from_environment
from gateway.config.resolve import load
from gateway.config.snapshot import Snapshot

OLLAMA = ("127.0.0.1", 11434)


def configured(config: Path | None) -> tuple[Snapshot, tuple[Found, ...]]:
    """The snapshot, and for one out of the environment what was found there. Raises ConfigError."""
    if config is not None:
        return load(config, os.environ), ()
    return from_environment(os.environ, ollama=_answers(OLLAMA))


def _answers(address: tuple[str, int]) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection(address, timeout=0.2):
            return True
    except OSError:
        return False
