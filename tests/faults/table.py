"""The table of docs/failover.md: every fault, and what the client sees of it, as the rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.faults.expected import ILL, WELL, Expected
from tests.faults.faults import GROUPS, TYPES, Cell, Fault

DOCUMENT = Path(__file__).parents[2] / "docs" / "failover.md"
BEGIN, END = "<!-- written by `python -m tests.faults --table` from here -->\n", "<!-- to here -->\n"


def table() -> str:
    """What stands between the two markers."""
    return "\n".join(line for heading, faults in GROUPS.items() for line in _group(heading, faults))


def written(document: str, between: str) -> str:
    """The document with other text between its markers. Raises ValueError where one is missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"a marker is missing: {BEGIN}{END}")
    return f"{before}{begin}\n{between}\n{end}{after}"


def _group(heading: str, faults: Sequence[Fault]) -> Iterator[str]:
    yield f"### {heading}\n"
    yield "| the provider | tries there | with a healthy second target | alone |"
    yield "| --- | --- | --- | --- |"
    for fault in faults:
        asked = _by_where(fault, _asked)
        yield f"| {_subject(fault)} | {asked} | {_by_where(fault, _in_company)} | {_by_where(fault, _alone)} |"
    yield ""


def _subject(fault: Fault) -> str:
    return fault.does if fault.types == TYPES else f"{fault.does} ({', '.join(fault.types)})"


def _asked(cell: Cell) -> str:
    tries = sum(provider == ILL for provider, _ in cell.expected.trail)
    return {1: "once", 2: "twice"}[tries]


def _in_company(cell: Cell) -> str:
    expected = cell._replace(company=True).expected
    return {ILL: "answered", WELL: "answered by the second"}.get(expected.served) or _failure(expected)


def _alone(cell: Cell) -> str:
    expected = cell.expected
    return "answered" if expected.served else _failure(expected)


def _failure(expected: Expected) -> str:
    row = expected.row
    assert row is not None
    code = f" `{row.code}`" if row.code else ""
    if expected.cut:
        return f"what came, then an error event{code}"
    wait = f", `retry-after: {expected.wait}`" if expected.wait is not None else ""
    final = ", `x-should-retry: false`" if expected.final else ""
    return f"{row.status}{code}{wait}{final}"


def _by_where(fault: Fault, told: Callable[[Cell], str]) -> str:
    """What is told of most cells, and what of those that are another failure at some type or in some mode."""
    usual, others = "", dict[str, list[str]]()
    for type in fault.types:
        for mode in fault.modes:
            said = told(Cell(fault, type, mode, company=False))
            where = next((name for name in (type, mode) if name in fault.but), "")
            if not where:
                usual = said
            elif where not in others.setdefault(said, []):
                others[said].append(where)
    others.pop(usual, None)
    return "; ".join((usual, *(f"{', '.join(places)}: {said}" for said, places in others.items())))
