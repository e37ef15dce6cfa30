"""Plays the whole fault matrix, and tells every difference from what is promised.

python -m tests.faults            all cells; exit status 1 if anything is not as it should be
python -m tests.faults NAME...    only the faults of these names
python -m tests.faults --table    writes the table of docs/failover.md instead
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import Progress

from tests.faults.faults import FAULTS, Cell, cells
from tests.faults.run import judged
from tests.faults.table import DOCUMENT, table, written


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    if arguments == ["--table"]:
        DOCUMENT.write_text(written(DOCUMENT.read_text(), table()))
        return 0
    if unknown := set(arguments) - {fault.name for fault in FAULTS}:
        sys.stderr.write(f"there is no fault {', '.join(sorted(unknown))}\n")
        return 2
    return _play([cell for cell in cells() if not arguments or cell.fault.name in arguments])


def _play(chosen: list[Cell]) -> int:
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("faults", total=len(chosen))

        def told(cell: Cell, found: list[str]) -> None:
            progress.advance(bar)
            for difference in found:
                progress.console.print(f"{cell}: {difference}", markup=False, highlight=False, soft_wrap=True)

        found = judged(chosen, told)
    wrong = sum(bool(each) for each in found.values())
    sys.stdout.write(f"{len(found)} cells, {wrong} with differences\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
