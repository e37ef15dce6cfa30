"""Prints what was seen of every outage: `python -m tests.outages`."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from tests.outages.scenarios import SCENARIOS, Scenario, played

COLUMNS = ("outage", "calls/s", "attempts per call", "worst 10 s", "not served", "back after", "90 % after", "surge")


def row(name: str, scenario: Scenario) -> Iterator[str]:
    """The figures of one scenario. Times are counted from the end of the outage."""
    seen, (start, end), usual = played(name), scenario.outage, scenario.usual_rate
    yield name
    yield f"{scenario.clients / 10:.0f}"
    yield f"{seen.amplification(start, end):.2f}"
    yield f"{seen.worst_amplification(start, end):.2f}"
    yield f"{seen.error_share(start, end):.1%}"
    yield f"{seen.back_after(scenario.timed, end):.1f} s"
    yield f"{seen.full_share_after(scenario.timed, end, usual, scenario.seconds):.0f} s"
    yield f"{seen.surge(scenario.timed, end, scenario.seconds) / usual:.1f} x"


if __name__ == "__main__":
    table = Table(*COLUMNS, box=box.MARKDOWN)
    for name, scenario in SCENARIOS.items():
        table.add_row(*row(name, scenario))
    Console(width=160).print(table)
