"""Deployments as providers, and as models with their targets: what LiteLLM calls a model group is a model here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.config.models import ATTEMPTS
from gateway.config.snapshot import Strategy
from gateway.config.spec import ProviderSpec
from gateway.migrate.draft import Draft
from gateway.migrate.rows import Row
from gateway.vendors.catalogue import about as known_of

FIELDS = tuple(ProviderSpec.__dataclass_fields__)

LIMITS = {"rpm": "requests_per_minute", "tpm": "tokens_per_minute"}


@dataclass(slots=True)
class Wanted:
    """What the settings say of all models."""

    strategy: Strategy = "weighted"
    enforced: bool = False
    """Whether `rpm` and `tpm` are limits, and not hints only."""
    sticky: bool = False
    attempts: int | None = None
    concurrent: int | str | None = None
    """Calls at once, for targets without a limit of their own."""


def write(draft: Draft, rows: Sequence[Row], wanted: Wanted) -> None:
    """Writes `providers` and `models`."""
    accounts = {orjson.dumps(_entry(row)): row for row in reversed(rows)}
    many = Counter(row.place.prefix for row in accounts.values())
    providers: dict[str, dict[str, Any]] = {}
    names: dict[bytes, str] = {}
    groups: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        entry = _entry(row)
        same = orjson.dumps(entry)
        if same not in names:
            names[same] = name = _name(row, providers, many[row.place.prefix] > 1)
            providers[name] = entry
            draft.origins["providers", name] = row.at.mark
        groups.setdefault(row.name, []).append((names[same], row))
    if providers:
        draft.content["providers"] = providers
        draft.content["models"] = {name: _model(draft, name, group, wanted) for name, group in groups.items()}


def _entry(row: Row) -> dict[str, Any]:
    """Of the provider, field by field in the order in which they are written."""
    return {"type": row.place.type} | {name: row.place.fields[name] for name in FIELDS if name in row.place.fields}


def _name(row: Row, taken: Collection[str], is_one_of_many: bool) -> str:
    """LiteLLM's prefix; where it has several, with what tells them apart; and where that is taken, with a number."""
    hint = str(row.place.fields.get("region", "")) or _host(row) if is_one_of_many else ""
    name = f"{row.place.prefix}-{hint}" if hint and "$" not in hint else row.place.prefix
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _host(row: Row) -> str:
    """The first label of the host, or all of an address, and the port."""
    parts = urlsplit(str(row.place.fields.get("base_url") or row.place.fields.get("endpoint_url") or ""))
    host, _, port = parts.netloc.partition(":")
    label = host if host.replace(".", "").isdigit() else host.partition(".")[0]
    return f"{label}-{port}" if port.isdigit() else label


def _model(draft: Draft, name: str, group: Sequence[tuple[str, Row]], wanted: Wanted) -> dict[str, Any]:
    group = _in_order(draft, _once_each(draft, group))
    rows = [row for _, row in group]
    draft.origins["models", name] = rows[0].at.mark
    strategy = _strategy(draft, rows, wanted)
    weights = _weights(draft, rows, strategy)
    targets: list[dict[str, Any]] = []
    for (provider, row), weight in zip(group, weights, strict=True):
        share = {} if weight in (None, 1) else {"weight": weight}
        limits = _limits(draft, row, wanted)
        draft.origins["models", name, "targets", len(targets)] = row.at.mark
        targets.append({"provider": provider, "model": row.place.model, **share, **row.target, **limits})
    chosen: dict[str, Any] = {"strategy": strategy} if strategy != "weighted" and len(rows) > 1 else {}
    if wanted.sticky and strategy == "weighted" and len(rows) > 1:
        chosen["sticky"] = True
    return {**chosen, "targets": targets, **_common(draft, rows)}


def _in_order(draft: Draft, group: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """By `order`, the lowest first, those without one last."""
    for _, row in group:
        if row.order is None:
            continue
        if len(group) > 1 and sum(row.order == other.order for _, other in group) > 1:
            words = "those of one order are asked one after another, not by chance"
            draft.changed(row.said["order"], words, row.about)
        else:
            draft.same(row.said["order"], "the place among the targets")
    return sorted(group, key=lambda named: (named[1].order is None, named[1].order or 0))


def _strategy(draft: Draft, rows: Sequence[Row], wanted: Wanted) -> Strategy:
    if len({row.order for row in rows}) > 1:
        return "ordered"
    if wanted.strategy != "cheapest" or all(map(_has_price, rows)):
        return wanted.strategy
    words = "not by price: a target has none that is known; with price: {...} there, write strategy: cheapest"
    draft.remark(("models", rows[0].name), words)
    return "weighted"


def _once_each(draft: Draft, group: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """Without the rows that say nothing new."""
    found: dict[tuple[str, str], tuple[str, Row]] = {}
    for provider, row in group:
        first = found.setdefault((provider, row.place.model), (provider, row))
        if first[1] is not row:
            draft.changed(
                row.at, f"is the same target as that of line {first[1].at.mark.line}; written once", row.about
            )
    return list(found.values())


def _has_price(row: Row) -> bool:
    known = known_of(row.place.type, row.place.model)
    return "price" in row.target or "*" in row.place.model or bool(known and known.price)


def _weights(draft: Draft, rows: Sequence[Row], strategy: Strategy) -> list[Any]:
    """Of each row. LiteLLM goes by the first of `weight`, `rpm` and `tpm` that the first row has."""
    field = next((field for field in ("weight", "rpm", "tpm") if field in rows[0].shares), None)
    is_used = field is not None and strategy == "weighted" and len(rows) > 1
    for row in rows:
        if "weight" in row.said:
            _tell_weight(draft, row, is_used and field == "weight")
    if field is None or not is_used:
        return [None] * len(rows)
    shares = [row.shares.get(field) or 1 for row in rows]
    if all(isinstance(share, int) for share in shares):
        shares = [share // gcd(*shares) for share in shares]
    for row, share in zip(rows, shares, strict=True):
        if not row.shares.get(field):
            draft.changed(
                row.said.get(field, row.at),
                f"has no share by {field}, so LiteLLM rarely asks it; weight: {share}",
                row.about,
            )
    return shares


def _tell_weight(draft: Draft, row: Row, is_used: bool) -> None:
    if not is_used:
        draft.changed(row.said["weight"], "means nothing: there is no choice by weight in this model", row.about)
    elif row.shares["weight"]:
        draft.same(row.said["weight"], "weight of the target, relative to the others")


def _limits(draft: Draft, row: Row, wanted: Wanted) -> dict[str, Any]:
    limits = dict(row.target.get("limits", {}))
    if wanted.concurrent is not None:
        limits.setdefault("concurrent_requests", wanted.concurrent)
    for share, name in LIMITS.items():
        if share not in row.said or not row.shares[share]:
            continue
        if wanted.enforced:
            limits[name] = row.shares[share]
            draft.same(row.said[share], f"limits.{name} of the target")
        else:
            words = f"a hint for sharing calls out; to have it kept, write limits: {{{name}: ...}} at the target"
            draft.changed(row.said[share], words, row.about)
    return {"limits": limits} if limits else {}


def _common(draft: Draft, rows: Sequence[Row]) -> dict[str, Any]:
    """What deployments say for themselves, and a model says for all its targets here. The first has the say."""
    found: dict[str, Any] = {}
    said: dict[str, Row] = {}
    for row in rows:
        for path, value in row.model.items():
            first = said.setdefault(path, row)
            if first is not row and first.model[path] != value:
                words = f"{path} is for all targets of a model; that of line {first.said[path].mark.line} counts"
                draft.changed(row.said[path], words, row.about)
    for path, row in said.items():
        if any(path not in other.model for other in rows):
            draft.changed(row.said[path], f"{path} is for all targets of a model", row.about)
        _put(found, path, row.model[path])
    return found


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    section, dot, field = path.partition(".")
    if dot:
        content.setdefault(section, {})[field] = value
    else:
        content[section] = value


def write_attempts(draft: Draft, wanted: Wanted) -> None:
    """Lets a call try each target and each fallback of its model, where the usual number of attempts is too small."""
    models: Mapping[str, Any] = draft.content.get("models", {})
    usual = wanted.attempts or ATTEMPTS
    for model in models.values():
        there = model.get("retries", {}).get("attempts", usual)
        ways = len(model["targets"]) + len(model.get("fallbacks", []))
        if min(10, ways) > there:
            model["retries"] = {"attempts": min(10, ways)}
