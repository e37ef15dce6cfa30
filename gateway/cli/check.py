"""`gateway check`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console

from gateway.config.read import ConfigError
from gateway.config.resolve import load


def run(file: Path, *, as_json: bool) -> int:
    """Prints every complaint about the file. Returns the exit status: 0 if there are none, else 1."""
    try:
        snapshot = load(file, os.environ)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    if as_json:
        print(orjson.dumps({"ok": True, "complaints": []}).decode())
    else:
        models = len(snapshot.models) + len(snapshot.patterns)
        counts = f"{len(snapshot.providers)} providers, {models} models, {len(snapshot.keys)} keys"
        Console(highlight=False).print(f"[green]{file} is good[/green]: {counts}.")
    return 0


def complain(error: ConfigError, *, as_json: bool) -> None:
    """Prints a configuration's complaints, one per line, as `FILE:LINE:COL: path: message`."""
    if as_json:
        told = {"ok": False, "complaints": [asdict(complaint) for complaint in error.complaints]}
        print(orjson.dumps(told).decode())
        return
    for complaint in error.complaints:
        print(complaint)
