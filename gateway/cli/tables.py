"""Tables: for people on a terminal, and one line a row for `grep` and its like."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNFOLDED = 1000
"""Columns of a table that nobody looks at."""

Cell = str | Text


def show(
    headings: Iterable[str], rows: Iterable[Iterable[Cell]], *, numbers: Iterable[str] = (), last: Iterable[Cell] = ()
) -> None:
    """Prints a table. `numbers` are the headings of columns to be aligned on the right; `last` is a row of sums."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    right = frozenset(numbers)
    for heading in headings:
        is_number = heading in right
        table.add_column(heading, overflow="fold", justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        table.add_row(*row)
    if last := tuple(last):
        table.add_row(*last, style="bold")
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNFOLDED
    console.print(table)
