"""`gateway init`: a configuration to begin with, and a first key."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from shlex import quote

from rich.console import Console

from gateway.admin.service import ALPHABET, LENGTH, PREFIX
from gateway.cli.configuration import complain, configured
from gateway.cli.starter import ADMIN_TOKEN, KEY, starter
from gateway.cli.telling import print_json, refuse
from gateway.config.complaints import ConfigError
from gateway.config.environment import Found
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot


def run(file: Path, *, as_json: bool) -> int:
    """Writes the file, and prints the key. Returns the exit status: 1 if there is one, or it cannot be written."""
    key, environ = _new_key(), os.environ
    _, found = configured(None)
    text = starter(found, sha256(key.encode()).hexdigest(), with_admin=bool(environ.get(ADMIN_TOKEN)))
    try:
        snapshot = loads(text, name=str(file), environ=environ)
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except ConfigError as error:  # what is in the environment: an admin token that is too short, say
        complain(error, as_json=as_json)
        return 1
    except FileExistsError:
        return refuse(f"{file} is there already, and was left as it is. Name another file.", as_json=as_json)
    except OSError as error:
        return refuse(f"{file} cannot be written: {error.strerror}.", as_json=as_json)
    if as_json:
        print_json({"ok": True, "file": str(file), "found": [_told(each) for each in found], "name": KEY, "key": key})
    else:
        _show(Console(highlight=False), file, found, key, snapshot)
    return 0


def _new_key() -> str:
    """As those that `gateway keys create` makes."""
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def _told(found: Found) -> Mapping[str, object]:
    return {"provider": found.provider, "source": found.source, "models": found.models, "note": found.note}


def _show(console: Console, file: Path, found: tuple[Found, ...], key: str, snapshot: Snapshot) -> None:
    """What was found, the key, and what to do next."""
    name, model = quote(str(file)), next(iter(snapshot.models), "echo")
    console.print(f"[bold]Wrote {file}[/bold], with what the environment holds:", soft_wrap=True)
    for each in found:
        console.print(f"  {each}", markup=False, soft_wrap=True)
    if not snapshot.admin.tokens:
        console.print(f"  no {ADMIN_TOKEN}: nobody can sign in to the dashboard; the file says how", soft_wrap=True)
    console.print(
        f"\nThe key of your first client, `{KEY}`. It is shown this once: the file has its SHA-256.\n", soft_wrap=True
    )
    console.print(f"  {key}\n", style="bold", markup=False)
    console.print("Next:\n")
    for line in (
        f"gateway serve --config {name}",
        f"curl http://127.0.0.1:{snapshot.server.port}/v1/chat/completions \\",
        f"  -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\",
        f'  -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}\'',
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
