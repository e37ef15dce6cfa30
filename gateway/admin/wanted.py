"""
A key as somebody wants it at run time: an entry of `keys`, as JSON holds it, and without the key itself.

It is read by what reads the configuration, and checked as it is there. In the database it stands in the same spelling,
so it is held against the same rules when it comes back: a field that only a later program knows, which may be there to
restrict the key, makes it unreadable rather than unrestricted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.config.complaints import Mark, Review, Steps
from gateway.config.fill import Filler
from gateway.config.keys import resolve_keys
from gateway.config.names import overlap
from gateway.config.snapshot import Budget, Key, Snapshot
from gateway.config.spec import KeySpec, Spec
from gateway.config.tree import Entries, Items, Node, Scalar
from gateway.config.unpriced import check_budgets
from gateway.core.call import Limits
from gateway.core.money import dollars

HERE: Steps = ("keys", 0)
"""Where the entry would stand in a configuration that holds nothing else."""

NOT_GIVEN = ("key", "sha256")
"""Fields of the configuration: a key of one's own is declared there."""

DEEPEST = 3
"""Levels of nesting: the entry, its limits, a limit."""

LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
"""How the configuration calls the fields of `Limits`, in their order."""


class Fault(NamedTuple):
    """One thing to mend in what was asked for."""

    path: str
    """The field, such as `limits.tokens_per_minute`; empty for the whole."""
    message: str


class Unreadable(Exception):
    """What was asked for cannot be understood, or not be done."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in faults))


def wanted(written: Mapping[str, Any], digest: bytes, snapshot: Snapshot, now: float) -> Key:
    """The key that is asked for. Raises Unreadable, also for one that could never be used as it is meant."""
    review = Review("")
    spec = _read(written, digest, review)
    if spec.expires is not None and spec.expires <= now:
        review.complain((*HERE, "expires"), f"{review.shown((*HERE, 'expires'))} is past")
    key = _resolved(spec, snapshot, review)
    if not snapshot.to_discover and not review.complaints:
        check_budgets(Spec(keys=[spec]), snapshot, review)
    return _sound(key, review)


def kept(name: str, settings: Mapping[str, Any], digest: bytes) -> Key:
    """The key that was asked for once. Raises Unreadable.

    A model that it names may have left the configuration since: the others can still be used.
    """
    review = Review("")
    return _sound(_resolved(_read({**settings, "name": name}, digest, review), None, review), review)


def settings(key: Key) -> dict[str, Any]:
    """What was asked for, as JSON holds it; what says nothing is left out. The opposite of `kept`."""
    said = {
        "models": list(key.models),
        "priority": key.priority,
        "limits": _limits(key.limits),
        "budget": _budget(key.budget) if key.budget else None,
    }
    return {name: value for name, value in said.items() if value}


def _limits(limits: Limits) -> dict[str, int]:
    return {name: most for name, most in zip(LIMITS, limits, strict=True) if most is not None}


def _budget(budget: Budget) -> dict[str, Any]:
    usd = None if budget.usd_micros is None else dollars(budget.usd_micros)
    said = {"usd": usd, "tokens": budget.tokens, "every": budget.every}
    return {name: value for name, value in said.items() if value is not None}


def _read(written: Mapping[str, Any], digest: bytes, review: Review) -> KeySpec:
    for name in NOT_GIVEN:
        if name in written:
            review.complain((*HERE, name), "cannot be given: keys of your own stand in the configuration")
    asked = {name: value for name, value in written.items() if name not in NOT_GIVEN}
    spec = Filler(review, {}).record(KeySpec, node(asked, HERE, review), HERE)
    return replace(spec, sha256=digest)


def _resolved(spec: KeySpec, snapshot: Snapshot | None, review: Review) -> Key | None:
    """The key. Its models are looked up only where it is known which there are."""
    names = [] if snapshot is None else _published(snapshot)
    known = snapshot is not None and not snapshot.to_discover
    covers = (lambda pattern: any(overlap(pattern, name) for name in names)) if known else None
    found = resolve_keys(Spec(keys=[spec]), names, covers, review)
    return next(iter(found.values()), None)


def _published(snapshot: Snapshot) -> list[str]:
    return [*snapshot.models, *(f"{prefix}*{suffix}" for prefix, suffix, _ in snapshot.patterns)]


def _sound(key: Key | None, review: Review) -> Key:
    if key is None or review.complaints:
        raise Unreadable(
            [
                Fault(each.path.removeprefix("keys[0]").removeprefix("."), each.message)
                for each in sorted(set(review.complaints))
            ]
        )
    return replace(key, place=None)


def node(value: Any, path: Steps, review: Review, depth: int = DEEPEST) -> Node:
    """JSON as the tree of a configuration. A field that is `null` says nothing, so it is left out."""
    mark = Mark()
    if not isinstance(value, dict | list):
        return Scalar(mark, _text(value, path, review), plain=False)
    if depth == 0:  # whatever it is, nothing that is read has anything in it here
        return Items(mark, ())
    if isinstance(value, list):
        return Items(mark, tuple(node(item, (*path, at), review, depth - 1) for at, item in enumerate(value)))
    given = {name: item for name, item in value.items() if item is not None}
    entries = (
        (Scalar(mark, name, False), node(item, (*path, name), review, depth - 1)) for name, item in given.items()
    )
    return Entries(mark, tuple(entries))


def _text(value: object, path: Steps, review: Review) -> str:
    """A value as somebody would write it into the file, but that it can stand for nothing else than itself.

    Whoever may ask for a key or a provider may not therefore read the files and the environment of the gateway.
    """
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if text.startswith("file:"):
        review.complain(path, "cannot be taken from a file here")
        return "-"
    return text.replace("${", "$${")
