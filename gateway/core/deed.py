"""What somebody did to the gateway: one entry of the audit log. Never a secret."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Via = Literal["api", "cli"]


class Actor(NamedTuple):
    """Who does something."""

    via: Via
    """Through the HTTP API, or by a command on a machine."""
    name: str
    """The token's name, or the operating system's user."""
    address: str = ""
    """Where the connection came from; of a command, the machine's name."""


class Change(NamedTuple):
    """One field, as JSON has it: before and after. None: it was not there, or is not any more."""

    field: str
    before: Any
    after: Any


class Deed(NamedTuple):
    """One change that was made."""

    time: float
    """Seconds since 1970."""
    actor: Actor
    action: str
    """What was done, such as `key.rotate`."""
    subject: str
    """To what: the name of a key, of a provider."""
    changes: tuple[Change, ...] = ()


class Told(NamedTuple):
    """What is looked for in the audit log; None: whichever. Times are in seconds since 1970, `until` not included."""

    who: str | None = None
    action: str | None = None
    subject: str | None = None
    since: float | None = None
    until: float | None = None


class Deeds(NamedTuple):
    """Entries of the audit log, the newest first, and where the next page begins; None after the last."""

    deeds: list[Deed]
    cursor: str | None


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[Change, ...]:
    """What is different, by name: `limits.tokens_per_minute`."""
    one, other = _flat(before), _flat(after)
    names = [*one, *(name for name in other if name not in one)]
    found = (Change(name, one.get(name), other.get(name)) for name in names)
    return tuple(change for change in found if change.before != change.after)


def _flat(said: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in said.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
