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
    headings: Iterable[str],
    rows: Iterable[Iterable[Cell]],
    *,
    numbers: Iterable[str] = (),
    whole: Iterable[str] = (),
    last: Iterable[Cell] = (),
) -> None:
    """Prints a table; `last` is a row of sums.

    `numbers` are the headings of columns to be aligned on the right. Those, and what is in `whole`, are never broken
    into lines.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    right, unbroken = frozenset(numbers), frozenset(whole)
    for heading in headings:
        no_wrap = heading in right | unbroken
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left", no_wrap=no_wrap)
    for row in rows:
        table.add_row(*row)
    if last := tuple(last):
        table.add_row(*last, style="bold")
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNFOLDED
    console.print(table)
