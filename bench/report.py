"""What was found, for people and for programs."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

LIBRARIES = ("uvloop", "httptools", "uvicorn", "starlette", "orjson")
SERVERS = ("direct", "nginx", "gateway", "litellm")
WIDTH = 140


@dataclass(frozen=True, slots=True)
class Bar:
    """Where the figure that counts should be: at most, or at least, `limit`."""

    limit: float
    at_least: bool = False

    def cleared_by(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the medians by server, and what they come to."""

    what: str
    """What was measured, and in what unit."""
    figures: Mapping[str, float]
    compared: Sequence[float] = field(default=())
    """The figure that counts, one for each round; its median is held against the bar."""
    bar: Bar | None = None

    @property
    def outcome(self) -> float | None:
        ordered = sorted(self.compared)
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[~middle]) / 2 if ordered else None

    @property
    def verdict(self) -> str:
        if self.bar is None or self.outcome is None:
            return ""
        return "yes" if self.bar.cleared_by(self.outcome) else "no"


def number(figure: float | None) -> str:
    """Three digits that matter, without an exponent."""
    if figure is None:
        return ""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def headings(findings: Sequence[Finding]) -> list[str]:
    """The columns, without those of servers that were not there."""
    servers = [name for name in SERVERS if any(name in finding.figures for finding in findings)]
    return ["", *servers, "figure", "rounds", "bar", "kept"]


def cells(finding: Finding) -> dict[str, str]:
    """One line of the table by column."""
    rounds = finding.compared
    return {
        "": finding.what,
        **{name: number(figure) for name, figure in finding.figures.items()},
        "figure": number(finding.outcome),
        "rounds": f"{number(min(rounds))} to {number(max(rounds))}" if len(rounds) > 1 else "",
        "bar": str(finding.bar or ""),
        "kept": finding.verdict,
    }


def rows(findings: Sequence[Finding]) -> list[list[str]]:
    columns = headings(findings)
    return [[line.get(column, "") for column in columns] for line in map(cells, findings)]


def show(findings: Sequence[Finding]) -> None:
    """Prints a table, not squeezed where nobody's screen is in the way."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(*headings(findings), title="What the gateway costs")
    for row in rows(findings):
        table.add_row(*row)
    console.print(table)


def machine() -> dict[str, str]:
    """What the figures depend on, and nothing that tells whose machine it was."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "CPU": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def markdown(findings: Sequence[Finding], facts: Mapping[str, str], date: str) -> str:
    columns = headings(findings)
    table = [columns, ["---"] * len(columns), *rows(findings)]
    lines = [f"# {date}", "", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table), ""])


def plain(findings: Sequence[Finding], facts: Mapping[str, str]) -> dict[str, Any]:
    """The same as values for JSON."""
    lines = [asdict(finding) | {"outcome": finding.outcome, "kept": finding.verdict} for finding in findings]
    return {"machine": dict(facts), "findings": lines}
