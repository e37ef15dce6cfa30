"""Writes the tables of docs/providers.md: what works with which type, as it was just tried, and the facts of all types.

python -m tests.sdk.provider_table
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import uvloop

from gateway.config.vendor_table import VENDORS
from gateway.vendors.quirks import QUIRKS
from gateway.vendors.vendor import Vendor, own_base_url, urls
from tests.sdk.capabilities import CAPABILITIES, LIMITS, NOTES, prove
from tests.sdk.providers import PROVIDERS

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"
BEGIN, END = "<!-- written by `make docs` from here -->\n", "<!-- to here -->\n"

REMARKS = {**LIMITS, **NOTES}

WORKS, FAILS = "\N{CHECK MARK}", "\N{BALLOT X}"


@cache
def outcomes(type: str) -> Mapping[str, str]:
    """By capability: what went wrong with it at this type of provider. Empty: nothing. Each type is tried once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(prove(type))


def surprise(type: str, capability: str) -> str:
    """What is not as declared; empty where all is."""
    failed, limit = outcomes(type)[capability], LIMITS.get((type, capability))
    if failed and not limit:
        return f"{capability} does not work with {type}: {failed}"
    return f"{capability} works with {type}, though it is declared that {limit}" if limit and not failed else ""


def tables() -> str:
    """What stands between the two markers."""
    return "\n".join((*_capabilities(), "", *_vendors(), "", *_quirks(), ""))


def written(document: str, between: str) -> str:
    """The document with other text between its markers. Raises ValueError where one is missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"a marker is missing: {BEGIN}{END}")
    return f"{before}{begin}\n{between}\n{end}{after}"


def _capabilities() -> Iterator[str]:
    notes: list[str] = []
    yield from _table(("type", *CAPABILITIES), (_row(type, notes) for type in PROVIDERS))
    yield ""
    yield from (f"[^{number}]: {note}" for number, note in enumerate(notes, 1))


def _row(type: str, notes: list[str]) -> Iterator[str]:
    """A mark for each capability, with the number of its note, if it has one."""
    yield f"`{type}`"
    for name in CAPABILITIES:
        note = REMARKS.get((type, name))
        if note and note not in notes:
            notes.append(note)
        yield (FAILS if outcomes(type)[name] else WORKS) + (f"[^{notes.index(note) + 1}]" if note else "")


def _vendors() -> Iterator[str]:
    yield "## All types\n"
    headings = ("type", "dialect", "base URL", "key found in", "embeddings", "models", "adjustments")
    yield from _table(headings, (_facts(vendor) for vendor in VENDORS.values() if not vendor.in_process))


def _facts(vendor: Vendor) -> Iterator[str]:
    yield f"`{vendor.name}`"
    yield f"`{vendor.dialect}`"
    yield f"`{vendor.base_url}`" if vendor.base_url else "your own"
    yield ", ".join(f"`{name}`" for name in vendor.env) or "none needed"
    paths = _paths(vendor)
    yield from (f"`{paths[operation]}`" if operation in paths else FAILS for operation in ("embeddings", "models"))
    yield ", ".join(f"`{name}`" for name in vendor.quirks)


def _paths(vendor: Vendor) -> dict[str, str]:
    """By operation: what comes behind the base URL, or the whole address where that is another."""
    base = own_base_url(vendor, "{region}")
    found = urls(vendor, base, "MODEL", "", "{region}")
    return {
        operation: url.removeprefix(base).partition("?")[0].replace("MODEL", "{model}")
        for operation, url in found.items()
    }


def _quirks() -> Iterator[str]:
    yield "Adjustments are made to requests, where a server is known to need them:\n"
    for name, quirk in QUIRKS.items():
        first, *_ = inspect.cleandoc(quirk.__doc__ or "").split("\n")
        yield f"- `{name}`: {first}"


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for row in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """Writes the document, unless something is not as it is declared."""
    if surprises := list(filter(None, (surprise(type, name) for type in PROVIDERS for name in CAPABILITIES))):
        sys.exit("\n".join(surprises))
    DOCUMENT.write_text(written(DOCUMENT.read_text(), tables()))


if __name__ == "__main__":
    main()
