"""LiteLLM's virtual keys as ours. Both keep the SHA-256 of a key, so clients go on with the keys that they have.

A row whose limits are not all in it is refused: those of its team or of its budget stand in other tables, and a key
must not be able to do more here than it could there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from gateway.admin.wanted import Unreadable, kept, settings
from gateway.config import values
from gateway.config.complaints import quoted
from gateway.config.snapshot import Budget, Every, Key
from gateway.core.call import Limits
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.core.virtual_key import VirtualKey
from gateway.migrate.key_rows import TOKEN, KeyRow, rows
from gateway.migrate.report import Line, Verdict, on_one_line

WINDOWS: dict[Every, int] = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400}
"""Seconds of each window, the shortest first."""

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "mo": 30 * 86400}
"""Of LiteLLM's units of time."""

LEAST = 1
"""Micro-dollars: of a budget that is spent there and may not be nothing here."""

ALL_MODELS = ("all-proxy-models", "*")
UI_TEAM = "litellm-dashboard"
"""The team of the keys by which LiteLLM's own pages call it."""

CALLS = frozenset(["llm_api_routes", "openai_routes", "/chat/completions", "/v1/chat/completions", "/embeddings", "*"])
"""Of `allowed_routes`, those that keys are for here."""

RESTRICTS: Mapping[str, str] = {
    "model_max_budget": "budgets are for all models of a key; give it other keys for the dear ones",
    "budget_limits": "a key has one budget, for one window",
    "policies": "guards stand before the gateway or at the provider",
    "object_permission_id": "only chats and embeddings are served",
}
NOT_KEPT: Mapping[str, str] = {
    "aliases": "other names for models are written under aliases, for all keys",
    "router_settings": "a model is served in one way for all keys",
    "metadata": "nothing is kept with a key but what it may do",
    "organization_id": "there are keys, and no organizations",
    "auto_rotate": "keys are rotated by `gateway keys rotate`",
}
"""Columns that say more than what is kept of a key."""

JOINED = "join the tables as docs/migration.md does"


class _Refused(Exception):
    """The message says why a key is not taken over."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a file of keys."""

    keys: tuple[VirtualKey, ...]
    report: tuple[Line, ...]


@dataclass(slots=True)
class _Told:
    """The report, as it comes together."""

    file: str
    line: int = 0
    name: str = ""
    lines: list[Line] = field(default_factory=list)

    def tell(self, verdict: Verdict, message: str, column: str = "") -> None:
        path = f"{self.name}.{column}" if column else self.name
        self.lines.append(Line(self.file, self.line, 1, on_one_line(path), verdict, on_one_line(message)))


def read(text: str, file: str, now: float) -> Brought:
    """The keys of an export. `now` is in seconds since 1970. Raises ConfigError for a file that holds none."""
    told, found, names = _Told(file), [], set[str]()
    for row in rows(text, file):
        told.line, told.name = row.line, _name(row, names)
        names.add(told.name)
        try:
            found.append(_key(row, told, now))
        except _Refused as error:
            told.tell("refused", str(error))
    return Brought(tuple(found), tuple(told.lines))


def _digest(row: KeyRow) -> str:
    token = row.text(TOKEN)
    return token.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", token) else sha256(token.encode()).hexdigest()


def _name(row: KeyRow, taken: Iterable[str]) -> str:
    """Its alias, as far as that can be a name here and is nobody else's; else one that its hash gives it."""
    own = f"litellm-{_digest(row)[:8]}"
    alias = row.text("key_alias")
    try:
        values.exact(alias)
    except ValueError:
        return own
    return f"{alias}-{_digest(row)[:8]}" if alias in taken else alias


def _key(row: KeyRow, told: _Told, now: float) -> VirtualKey:
    if row.text("team_id") == UI_TEAM:
        raise _Refused("is one of LiteLLM's own pages, not of a client")
    digest = _digest(row)
    if row.text(TOKEN).lower() != digest:
        told.tell("changed", "was kept in clear there; its SHA-256 is kept here", TOKEN)
    _check_whole(row, told)
    wanted = Key(
        name=told.name,
        digest=bytes.fromhex(digest),
        models=_models(row, told),
        limits=_limits(row),
        budget=_budget(row, told),
    )
    try:
        kept(wanted.name, settings(wanted), wanted.digest)
    except Unreadable as error:
        raise _Refused(str(error)) from None
    expires, created = _moment(row, "expires"), _moment(row, "created_at")
    made = VirtualKey(told.name, digest, "sk-", created or now, expires, settings=settings(wanted))
    if row.text("blocked").lower() in ("true", "t", "1"):
        told.tell("changed", "is blocked there, which can be undone; here it is revoked", "blocked")
        return replace(made, revoked=now)
    told.tell("same", f"the key {quoted(told.name)}: clients go on with what they have")
    return made


def _check_whole(row: KeyRow, told: _Told) -> None:
    """Sees to it that nothing is lost in silence, and refuses what could do more here."""
    limited = any(row.says(name) for name in ("max_budget", "rpm_limit", "tpm_limit", "max_parallel_requests"))
    if row.says("budget_id") and not limited:
        raise _Refused(f"its limits are those of its budget, which is not in this file; {JOINED}")
    routes = row.list("allowed_routes")
    if routes and CALLS.isdisjoint(routes):
        raise _Refused("is for managing LiteLLM, or for other APIs; who manages the gateway stands in admin.tokens")
    for name, words in {**RESTRICTS, **NOT_KEPT}.items():
        if row.says(name):
            told.tell("unsupported", words, name)


def _models(row: KeyRow, told: _Told) -> tuple[str, ...]:
    models = row.list("models") or []
    if not models or "all-team-models" in models:
        team = row.list("team_models")
        if team is None and row.says("team_id"):
            raise _Refused(f"its models are those of its team, which is not in this file; {JOINED}")
        if team:
            told.tell("changed", "its team's; they do not change with the team any more", "models")
        models = team or []
    if "no-default-models" in models:
        raise _Refused("may use no model")
    return () if set(ALL_MODELS) & set(models) else tuple(models)


def _limits(row: KeyRow) -> Limits:
    return Limits(*(_count(row, name) for name in ("rpm_limit", "tpm_limit", "max_parallel_requests")))


def _count(row: KeyRow, name: str) -> int | None:
    text = row.text(name).removesuffix(".0")
    if not text:
        return None
    try:
        return values.rate(text)
    except ValueError as error:
        raise _Refused(f"{name} {error}") from None


def _budget(row: KeyRow, told: _Told) -> Budget | None:
    usd = _number(row, "max_budget")
    if usd is None:
        return None
    duration = row.text("budget_duration")
    if not duration:
        left = _micros(max(0.0, usd - (_number(row, "spend") or 0.0)))
        told.tell("changed", "what is left of it, each month anew; there it is never full again", "max_budget")
        return Budget("month", left)
    found = re.fullmatch(r"(\d{1,6})(mo|[smhdw])", duration)
    if not found or not int(found[1]):
        raise _Refused("budget_duration is no time that is known")
    length = int(found[1]) * SECONDS[found[2]]
    every: Every = next((name for name in reversed(WINDOWS) if WINDOWS[name] <= length), "hour")
    if WINDOWS[every] == length:
        verdict: Verdict = "changed" if every in ("week", "month") else "same"
        told.tell(verdict, f"each {every} of the calendar", "budget_duration")
        return Budget(every, _micros(usd))
    told.tell("changed", f"each {every} of the calendar, and so much less or more of it", "budget_duration")
    return Budget(every, _micros(usd * WINDOWS[every] / length))


def _micros(usd: float) -> int:
    return max(LEAST, min(int(usd * MICROS_PER_DOLLAR), values.RICHEST * MICROS_PER_DOLLAR))


def _number(row: KeyRow, name: str) -> float | None:
    if not (text := row.text(name)):
        return None
    if not re.fullmatch(r"\d{1,15}(\.\d*)?([eE][-+]?\d{1,2})?", text):
        raise _Refused(f"{name} is not a number of US dollars")
    return float(text)


def _moment(row: KeyRow, name: str) -> float | None:
    """PostgreSQL writes moments without a zone, and LiteLLM means UTC."""
    if not (text := row.text(name)):
        return None
    try:
        return values.moment(text)
    except ValueError:
        raise _Refused(f"{name} is not a time") from None


@dataclass(frozen=True, slots=True)
class Kept:
    """Which keys are new to a database, and which of the others it has already."""

    new: tuple[VirtualKey, ...]
    report: tuple[Line, ...]


def against(brought: Brought, there: Iterable[VirtualKey], declared: Iterable[str]) -> Kept:
    """What is to be added to keys that are there, so that a second time adds nothing. `declared` stand in the file."""
    by_hash = {digest: key for key in there for digest in (key.sha256, key.replaced_sha256) if digest}
    names = {key.name for key in by_hash.values()} | set(declared)
    places = {line.path: line for line in brought.report}
    new, report = [], list(brought.report)

    def tell(key: VirtualKey, verdict: Verdict, message: str) -> None:
        place = places.get(key.name)
        at = (place.file, place.line) if place else ("", 0)
        report.append(Line(*at, 1, key.name, verdict, message))

    for key in brought.keys:
        if key.sha256 in by_hash:
            tell(key, "same", f"is there already, as {quoted(by_hash[key.sha256].name)}; it stays as it is")
        elif key.name in names:
            tell(key, "refused", "there is another key of that name; give one of the two another")
        else:
            new.append(key)
    return Kept(tuple(new), tuple(report))
