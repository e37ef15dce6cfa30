"""Who may call, and from where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

from gateway.config.addresses import is_loopback
from gateway.config.complaints import Review, Steps, did_you_mean, quoted
from gateway.config.famous import FAMOUS, is_famous
from gateway.config.fill import empty_because
from gateway.config.snapshot import Budget, Key
from gateway.config.spec import BudgetSpec, KeySpec, LimitsSpec, Spec
from gateway.core.call import Limits

SHORTEST = 16
"""Characters of a key that is typed into the file. Shorter ones are guessed."""


def resolve_keys(
    spec: Spec, names: Iterable[str], covers: Callable[[str], bool] | None, review: Review
) -> dict[bytes, Key]:
    """Keys by their SHA-256.

    `covers` says whether a name or pattern of models matches anything published; None where that cannot be known.
    """
    found: dict[bytes, Key] = {}
    taken: dict[str, int] = {}
    for index, written in enumerate(spec.keys):
        path = ("keys", index)
        if written.name and taken.setdefault(written.name, index) != index:
            review.complain(
                (*path, "name"), f"{quoted(written.name)} is the name of keys[{taken[written.name]}] already"
            )
        if covers:
            _check_models(written, path, names, covers, review)
        if digest := _digest(written, path, review):
            if digest in found:
                review.complain(path, f"is the same key as that of {quoted(found[digest].name)}")
            found[digest] = _key(written, digest, f"{review.file}:{review.line(path)}")
        _check_budget(written, path, review)
    return found


def _key(written: KeySpec, digest: bytes, place: str) -> Key:
    return Key(
        name=written.name,
        digest=digest,
        models=tuple(written.models),
        expires=written.expires,
        priority=written.priority,
        limits=_limits(written.limits),
        budget=_budget(written.budget),
        place=place,
    )


def _limits(written: LimitsSpec) -> Limits:
    return Limits(written.requests_per_minute, written.tokens_per_minute, written.concurrent_requests)


def _budget(written: BudgetSpec | None) -> Budget | None:
    return Budget(written.every, written.usd, written.tokens) if written else None


def check_host(spec: Spec, review: Review) -> None:
    """Without keys everyone may call, so nobody but this machine may reach the server."""
    if not spec.keys and review.read_well(("keys",)) and not is_loopback(spec.server.host):
        shown = review.shown(("server", "host"))
        review.complain(("server", "host"), f"{shown} can be reached by others, and there are no keys; add keys")


def _digest(written: KeySpec, path: Steps, review: Review) -> bytes | None:
    if not review.read_well((*path, "key")) or not review.read_well((*path, "sha256")):
        return None
    if written.key and written.sha256:
        review.complain(path, "has both key and sha256; one is enough")
        return None
    if written.key:
        _check_strength(written.key.reveal(), (*path, "key"), review)
        return sha256(written.key.reveal().encode()).digest()
    if not written.sha256 and review.read_well(path):
        empty = (*path, "key")
        because = empty_because(review.place(empty).variables)
        review.complain(empty if because else path, f"needs key or sha256{because}")
    return written.sha256


def _check_budget(written: KeySpec, path: Steps, review: Review) -> None:
    here = (*path, "budget")
    amounts = [(*here, field) for field in ("usd", "tokens")]
    if written.budget and not written.budget.usd and not written.budget.tokens and all(map(review.read_well, amounts)):
        review.complain(here, "has no amount; write usd: 50, tokens: 10M, or both")


def _check_strength(key: str, path: Steps, review: Review) -> None:
    if is_famous(key):
        review.complain(path, FAMOUS)
    elif len(key) < SHORTEST and review.place(path).typed:
        review.complain(path, f"is shorter than {SHORTEST} characters; make a better one: openssl rand -hex 24")


def _check_models(
    written: KeySpec, path: Steps, names: Iterable[str], covers: Callable[[str], bool], review: Review
) -> None:
    for index, model in enumerate(written.models):
        if model and not covers(model):
            hint = did_you_mean(model, names)
            review.complain((*path, "models", index), f"there is no model {quoted(model)}{hint}")
