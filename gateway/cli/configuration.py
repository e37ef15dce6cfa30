"""Which configuration a command works on, a file or what the environment holds, and what is wrong with it."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from gateway.cli.worker import Worker
from gateway.config.environment import Found, from_environment
from gateway.config.read import ConfigError
from gateway.config.resolve import Loaded
from gateway.migrate.direct import load_either
from gateway.migrate.report import counted

OLLAMA = ("127.0.0.1", 11434)


def configured(config: Path | None) -> tuple[Loaded, tuple[Found, ...]]:
    """The configuration, and for one out of the environment what was found there. Raises ConfigError.

    A file may be LiteLLM's: what has become of it is summed up on standard error.
    """
    if config is not None:
        loaded, report = load_either(config, os.environ)
        if report and Worker.here() is None:
            counts = ", ".join(f"{number} {verdict}" for verdict, number in counted(report).items())
            hint = f"`gateway import litellm {config}` tells of each"
            print(f"gateway: {config} is LiteLLM's: {counts}; {hint}.", file=sys.stderr)
        return loaded, ()
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
