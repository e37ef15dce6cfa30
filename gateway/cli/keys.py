"""`gateway keys`: the keys that a configuration declares, and those that are made at run time."""

from __future__ import annotations

import os
import pwd
import re
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from gateway.admin import views
from gateway.admin.moments import told
from gateway.admin.service import Keyring, Listed, Made
from gateway.admin.wanted import Fault, Unreadable
from gateway.app.times import now
from gateway.cli import kept
from gateway.cli.tables import Cell, show
from gateway.cli.telling import budget_of, limits_of, print_json, refuse
from gateway.config import values
from gateway.config.complaints import quoted
from gateway.config.resolve import Loaded
from gateway.core.deed import Actor
from gateway.store.database import Database
from gateway.store.keys import Keys

ONCE = "This is the only time that it is shown: what is kept is its SHA-256."

FIELDS = {
    "name": "NAME",
    "models": "--models",
    "limits.requests_per_minute": "--rpm",
    "limits.tokens_per_minute": "--tpm",
    "limits.concurrent_requests": "--concurrent",
    "budget.usd": "--budget-usd",
    "budget.tokens": "--budget-tokens",
    "budget.every": "--every",
    "budget": "the budget (--budget-usd, --budget-tokens, --every)",
    "expires": "--expires",
    "priority": "--priority",
}
"""How the command line calls the fields of a key."""

STYLES = {"valid": "green", "unreadable": "red", "shadowed": "yellow"}
"""What is over needs no colour."""

NOTHING = "none"
"""Typed in the place of a value: the field is taken out of the key."""

HEADINGS = ("name", "key", "models", "limits", "budget", "expires", "state", "declared")


class Options(NamedTuple):
    """What a key is to be like, as it was typed."""

    models: list[str]
    rpm: str | None
    tpm: str | None
    concurrent: str | None
    budget_usd: str | None
    budget_tokens: str | None
    every: str | None
    expires: str | None
    priority: str | None

    def written(self, name: str) -> dict[str, Any]:
        """The entry of a configuration that would say the same."""
        return {"name": name, **self.patch()}

    def patch(self) -> dict[str, Any]:
        """What they change of a key: a JSON merge patch (RFC 7396)."""
        limits = {
            "requests_per_minute": self.rpm,
            "tokens_per_minute": self.tpm,
            "concurrent_requests": self.concurrent,
        }
        budget = {"usd": self.budget_usd, "tokens": self.budget_tokens, "every": self.every}
        return _given(
            {
                "models": [model.strip() for models in self.models for model in models.split(",")] or None,
                "limits": _given(limits) or None,
                "budget": NOTHING if self.every == NOTHING else _given(budget) or None,
                "expires": self.expires,
                "priority": self.priority,
            }
        )


def _given(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not typed, and with null for what is to be taken away."""
    return {name: None if value == NOTHING else value for name, value in typed.items() if value is not None}


def create(config: Path | None, name: str, options: Options, *, as_json: bool) -> int:
    """Makes a key, and prints it. Returns the exit status."""

    def work(keyring: Keyring) -> int:
        _print_made(keyring.create(options.written(name)), as_json=as_json)
        return 0

    return _run(config, work, as_json=as_json, may_make=True)


def list_all(config: Path | None, *, as_json: bool) -> int:
    """Prints all keys, but not themselves. Returns the exit status."""

    def work(keyring: Keyring) -> int:
        found = keyring.list()
        if as_json:
            print_json({"ok": True, "keys": [views.of_key(each) for each in found]})
        else:
            show(HEADINGS, map(_row, found), whole=("key",))
        return 0

    return _run(config, work, as_json=as_json)


def update(config: Path | None, name: str, options: Options, *, as_json: bool) -> int:
    """Changes what a key may do. Returns the exit status."""
    patch = options.patch()
    if not patch:
        return refuse("Say what is to change, such as `--rpm 600`; `--rpm none` takes it away.", 2, as_json=as_json)

    def work(keyring: Keyring) -> int:
        changed = keyring.edit(name, patch)
        if as_json:
            print_json({"ok": True, **views.of_key(changed)})
        else:
            show(HEADINGS, [_row(changed)], whole=("key",))
        return 0

    return _run(config, work, as_json=as_json)


def rotate(config: Path | None, name: str, overlap: str, *, as_json: bool) -> int:
    """Makes a new key in the place of an old one, and prints it. Returns the exit status."""

    def work(keyring: Keyring) -> int:
        try:
            seconds = values.seconds(overlap)
        except ValueError as error:
            raise Unreadable([Fault("overlap", f"{quoted(overlap)} {error}")]) from None
        made = keyring.rotate(name, seconds)
        _print_made(made, as_json=as_json)
        until = made.listed.previous_until
        words = f"The key before it stays valid until {told(until)}." if until else "The key before it has ended."
        print(words, file=sys.stderr)
        return 0

    return _run(config, work, as_json=as_json)


def revoke(config: Path | None, name: str, *, as_json: bool) -> int:
    """Ends a key. Returns the exit status."""

    def work(keyring: Keyring) -> int:
        ended = keyring.revoke(name)
        if as_json:
            print_json({"ok": True, **views.of_key(ended)})
        else:
            print(f"The key {quoted(name)} is revoked. Its name is not given again.")
        return 0

    return _run(config, work, as_json=as_json)


def _run(config: Path | None, work: Callable[[Keyring], int], *, as_json: bool, may_make: bool = False) -> int:
    def with_keyring(loaded: Loaded, database: Database) -> int:
        return work(Keyring(Keys(database), loaded.snapshot, now, actor()))

    return kept.run(config, with_keyring, as_json=as_json, name=_option, may_make=may_make)


def actor() -> Actor:
    """Who runs the command. Where there are no names, as in many a container, it is the number."""
    user = os.getuid()
    with suppress(KeyError):
        return Actor("cli", pwd.getpwuid(user).pw_name, socket.gethostname())
    return Actor("cli", str(user), socket.gethostname())


def _option(field: str) -> str:
    field = re.sub(r"\[\d+\]$", "", field)
    return FIELDS.get(field, f"--{field}")


def _print_made(made: Made, *, as_json: bool) -> None:
    """The key, and nothing else, goes to standard output, where a script takes it from."""
    if as_json:
        print_json({"ok": True, **views.of_made(made)})
        return
    print(made.key.reveal(), flush=True)
    print(ONCE, file=sys.stderr)


def _row(listed: Listed) -> tuple[Cell, ...]:
    key, shown = listed.key, f"{listed.shown}..." if listed.shown else "-"
    state = Text(_state(listed), STYLES.get(listed.state, "dim"))
    place = listed.place or "database"
    if key is None:
        return (listed.name, shown, "?", "?", "?", "?", state, place)
    models = ", ".join(key.models) or "all"
    limits, budget = limits_of(key) or "-", budget_of(key) or "-"
    return (listed.name, shown, models, limits, budget, told(key.expires) if key.expires else "-", state, place)


def _state(listed: Listed) -> str:
    if listed.revoked is not None:
        return f"revoked {told(listed.revoked)}"
    if listed.previous_until is not None and listed.state == "valid":
        return f"valid, and the key before it until {told(listed.previous_until)}"
    return listed.state
