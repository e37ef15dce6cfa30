"""`gateway usage`: what calls came to, out of the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from gateway.admin import views
from gateway.admin.moments import told
from gateway.admin.usage import Line, Usage, question, usage
from gateway.app.times import now
from gateway.cli import kept
from gateway.cli.tables import show
from gateway.cli.telling import counted, print_json, refuse
from gateway.config.resolve import Loaded
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.store.database import Database
from gateway.store.ledger import Ledger

UNPRICED = "+"
"""Behind a cost: it is more than that."""

UNKNOWN = "?"
"""In the place of a cost of which no part is known."""

NAMELESS = "-"
"""Where a call came to no model or no provider."""


class Asked(NamedTuple):
    """As it was typed."""

    by: str
    since: str | None
    until: str | None
    key: str | None
    model: str | None
    provider: str | None


def run(config: Path | None, asked: Asked, *, as_csv: bool, as_json: bool) -> int:
    """Prints what was used. Returns the exit status."""
    if as_csv and as_json:
        return refuse("--csv and --json are two ways to print the same: choose one.", 2, as_json=False)

    def look(_: Loaded, database: Database) -> int:
        by, *others = asked
        named = dict(zip(Asked._fields[1:], others, strict=True))
        found = usage(Ledger(database), *question(by, now(), **named))
        (_print_csv if as_csv else _print_json if as_json else _show)(found)
        return 0

    return kept.run(config, look, name=lambda field: f"--{field}", as_json=as_json)


def _print_csv(usage: Usage) -> None:
    sys.stdout.write(views.csv_of_usage(usage))


def _print_json(usage: Usage) -> None:
    print_json({"ok": True, **views.of_usage(usage)})


COLUMNS = ("calls", "errors", "input", "output", "cached", "reasoning", "cost")


def _show(usage: Usage) -> None:
    if not usage.lines:
        print(f"No calls. {_period(usage)}.")
        return
    marked = usage.total.spent.unpriced_calls > 0
    rows = ((line.spent.by or NAMELESS, *_cells(line, marked)) for line in usage.lines)
    show([usage.by, *COLUMNS], rows, numbers=COLUMNS, last=("total", *_cells(usage.total, marked)))
    print(f"\n{_period(usage)}.")
    for note in _notes(usage.total):
        print(note)


def _cells(line: Line, marked: bool) -> Iterator[str]:
    spent = line.spent
    tokens = (spent.input_tokens, spent.output_tokens, spent.cache_read_tokens, spent.reasoning_tokens)
    yield from (f"{amount:,}" for amount in (spent.calls, line.errors, *tokens))
    cost = f"${Decimal(spent.cost_micros) / MICROS_PER_DOLLAR:,.6f}" if views.is_known(line) else UNKNOWN
    mark = UNPRICED if spent.unpriced_calls else " "
    yield cost + mark if marked else cost


def _period(usage: Usage) -> str:
    since = "Since the beginning" if usage.since is None else f"Since {told(usage.since)}"
    return since if usage.until is None else f"{since} until {told(usage.until)}"


def _notes(total: Line) -> Iterator[str]:
    if unpriced := total.spent.unpriced_calls:
        nobody = f"no price is known for {counted(unpriced, 'call')}"
        yield f"{UNPRICED} It cost more: {nobody}. Write `price` at their targets."
    if estimated := total.spent.estimated_calls:
        yield f"The tokens of {counted(estimated, 'call')} are estimated: the provider did not report them."
