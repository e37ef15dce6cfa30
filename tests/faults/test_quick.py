"""A quick cut of the fault matrix, which `python -m tests.faults` plays whole: every fault, every kind of outcome."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.faults.faults import FAULTS, GROUPS, Cell, Fault, cells
from tests.faults.run import judged
from tests.faults.table import DOCUMENT, table, written

STEP = 5
"""By so many cells the next fault's first choice is further on, so that not all begin with the same type and mode."""


def kinds(cell: Cell) -> set[tuple[object, ...]]:
    """What makes a cell worth playing. All pairs, not all triples: that would be a third of the whole matrix."""
    fault, outcome = cell.fault, (cell.fault.phase, cell.row.outcome)
    return {
        (fault.name,),
        (outcome, cell.type),
        (outcome, cell.mode, cell.company),
        (fault.phase, cell.type, cell.mode, cell.company),
    }


def quick() -> list[Cell]:
    """Every fault at least once, and every kind of cell."""
    chosen, seen = list[Cell](), set[tuple[object, ...]]()
    for place, fault in enumerate(FAULTS):
        own = [cell for cell in cells() if cell.fault is fault]
        first = place * STEP % len(own)
        for cell in own[first:] + own[:first]:
            if kinds(cell) - seen:
                chosen.append(cell)
                seen |= kinds(cell)
    return chosen


@pytest.fixture(scope="module")
def differences() -> Mapping[Fault, list[str]]:
    """What was not as promised. All cells are played at once, in one event loop."""
    found: dict[Fault, list[str]] = {fault: [] for fault in FAULTS}
    for cell, told in judged(quick()).items():
        found[cell.fault] += [f"{cell}: {difference}" for difference in told]
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_comes_to_what_is_promised(fault: Fault, differences: Mapping[Fault, list[str]]) -> None:
    assert not differences[fault], "\n".join(differences[fault])


def test_the_quick_cut_has_every_fault_and_every_kind_of_cell() -> None:
    assert {cell.fault for cell in quick()} == set(FAULTS)
    assert set().union(*map(kinds, quick())) == set().union(*map(kinds, cells()))


def test_every_fault_has_a_name_and_words_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for faults in GROUPS.values():
        assert len({(fault.does, fault.types) for fault in faults}) == len(faults)


def test_the_documents_table_is_that_of_the_faults() -> None:
    document = DOCUMENT.read_text()
    assert document == written(document, table()), "run `python -m tests.faults --table`"
