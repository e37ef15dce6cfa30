"""A vendor's table, made of what the sources say and no larger than lookups need. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.core.call import Json, Need
from gateway.vendors.catalogue import REGION, Table, find
from prices.sources import Listed, Told

PRICES = (0.0001, 1000.0)
"""US dollars per million tokens: the cheapest and the dearest that are believed, but for nothing at all. A price per
token or per thousand that was misread is outside."""

WINDOWS = (64, 100_000_000)

BY_OTHER_MEANS = frozenset({"anthropic", "bedrock"})
"""Vendors where the dialect gets an answer by a schema out of models that take none, with a tool or with words."""


def table(vendor: str, listed: Sequence[Listed], told: Sequence[Told]) -> Table:
    """The rows of one vendor."""
    rows = _listed_rows(listed)
    entries = _by_row(rows, told)
    models = {name: _widened(vendor, row, entries[name]) for name, row in sorted(rows.models.items())}
    models = {name: row for name, row in models.items() if row}
    return Table(models, {name: row for name, row in sorted(rows.names.items()) if row in models})


def faults(table: Table) -> Iterator[str]:
    """Numbers that nobody should be charged by, or left out for."""
    for name, row in table.models.items():
        if not WINDOWS[0] <= row.get("context", WINDOWS[0]) <= WINDOWS[1]:
            yield f"{name}: a context of {row['context']}"
        for kind, price in _each_price(row):
            if price and not PRICES[0] <= price <= PRICES[1]:
                yield f"{name}: {kind} at {price}"


def changes(old: Table, new: Table) -> Iterator[str]:
    """What a person should look at, a line for each row."""
    for name in sorted(old.models.keys() | new.models.keys()):
        before, after = old.models.get(name), new.models.get(name)
        if before is None:
            yield f"+ {name}: {_spelt(after)}"
        elif after is None:
            yield f"- {name}"
        elif before != after:
            yield f"  {name}: {_spelt(before)} -> {_spelt(after)}"


def disputed(table: Table, told: Sequence[Told]) -> Iterator[str]:
    """Prices of which the sources differ by more than a hundredth."""
    for entry in told:
        price = (find(table, entry.name) or {}).get("input")
        if price and entry.input and abs(price - entry.input) > max(price, entry.input) / 100:
            yield f"{entry.name}: {price} and {round(entry.input, 6)}"


# Rows.

_OPEN_END = re.compile(r"(-20\d\d-|[-@]+)$")
"""Where a rule ends that looks for the beginning of a dated name."""


def _listed_rows(listed: Sequence[Listed]) -> Table:
    """Each model under its own name. It has others where a lookup does not come to the same anyway.

    Shorter names are first, as lookups make names shorter and not longer.
    """
    models: dict[str, Json] = {}
    names: dict[str, str] = {}
    rows = Table(models, names)
    for name, model in sorted(_own_names(listed).items(), key=_by_length):
        if find(rows, name) != _row(model):
            models[name] = _row(model)
    for name, model in sorted(_other_names(listed).items(), key=_by_length):
        if name not in models and find(rows, name) != _row(model):
            names[name] = _plain(model.id)
    return rows


def _own_names(listed: Sequence[Listed]) -> Mapping[str, Listed]:
    return {_plain(model.id): model for model in listed}


def _other_names(listed: Sequence[Listed]) -> Mapping[str, Listed]:
    """Where two rules look for the same, the first is followed."""
    return {_plain(name): model for model in reversed(listed) for name in model.names}


def _by_length(item: tuple[str, Listed]) -> tuple[int, str]:
    return len(item[0]), item[0]


def _plain(name: str) -> str:
    """A name as lookups have it. The source marks Bedrock's regional prices; here they are those without a region."""
    return _OPEN_END.sub("", REGION.sub("", name.lower().strip("/").removeprefix("regional.")))


def _row(model: Listed) -> Json:
    return {**({"context": model.context} if model.context else {}), **model.prices}


# What the other source adds.


def _by_row(rows: Table, told: Iterable[Told]) -> Mapping[str, list[Told]]:
    """The entries that each row holds for."""
    names = {id(row): name for name, row in rows.models.items()}
    entries: dict[str, list[Told]] = {name: [] for name in rows.models}
    for entry in told:
        row = find(rows, entry.name)
        if row is not None:
            entries[names[id(row)]].append(entry)
    return entries


def _widened(vendor: str, row: Json, told: Sequence[Told]) -> Json:
    context, lacks = _context(row, told), _lacks(vendor, told)
    prices = {kind: value for kind, value in row.items() if kind != "context"}
    return {**({"context": context} if context else {}), **({"lacks": lacks} if lacks else {}), **prices}


def _context(row: Json, told: Sequence[Told]) -> int:
    """The widest that any source has: by it a model is left out, so one that is too narrow would do harm.

    A price for prompts that are longer shows that it can be wider (Anthropic's, by a header), and it is left open.
    """
    widest: int = max(row.get("context", 0), *(entry.context or 0 for entry in told), 0)
    dearer_from = [*map(int, row.get("above", ())), *(entry.dearer_from or 0 for entry in told), 0]
    return widest if widest > max(dearer_from) else 0


def _lacks(vendor: str, told: Sequence[Told]) -> list[Need]:
    """What every entry that speaks of it says the model cannot do. Silence says nothing."""
    needs: tuple[Need, ...] = ("images", "tools") if vendor in BY_OTHER_MEANS else ("images", "schema", "tools")
    return [need for need in needs if {entry.can[need] for entry in told if need in entry.can} == {False}]


# Rows in words.


def _each_price(row: Json) -> Iterator[tuple[str, float]]:
    for kind, value in row.items():
        if kind == "above":
            for tokens, prices in value.items():
                yield from ((f"{kind} above {tokens}", price) for kind, price in prices.items())
        elif kind not in ("context", "lacks"):
            yield kind, value


def _spelt(row: Json | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (row or {}).items())
