"""The arguments and options that several commands have, so that they are called and explained alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def flag(name: str, words: str) -> Any:
    """An option without a value."""
    return typer.Option(name, help=words, metavar="")


AsJson = Annotated[bool, flag("--json", "For scripts: JSON instead of text.")]

Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A YAML file. Without one, providers are found in the environment.")
]

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of providers; all, if none is given.")
]

Name = Annotated[str, typer.Argument(metavar="NAME", help="How the key is called in logs, metrics and the ledger.")]
Kept = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration that names the database.")
]


def _bound(metavar: str, words: str) -> Any:
    """An option that says what a key may do."""
    return typer.Option(metavar=metavar, help=words)


Models = Annotated[list[str] | None, _bound("NAMES", "Names or patterns, such as gpt-4o,claude-*; * is all.")]
Rpm = Annotated[str | None, _bound("COUNT", "Requests a minute, such as 600.")]
Tpm = Annotated[str | None, _bound("COUNT", "Tokens a minute, such as 1M.")]
Concurrent = Annotated[str | None, _bound("COUNT", "Calls at once, such as 40.")]
BudgetUsd = Annotated[str | None, _bound("DOLLARS", "US dollars in each window, such as 50.")]
BudgetTokens = Annotated[str | None, _bound("COUNT", "Tokens in each window, such as 10M.")]
Every = Annotated[str | None, _bound("WINDOW", "The window of the budget: hour, day, week or month.")]
Expires = Annotated[str | None, _bound("TIME", "A date or a time, such as 2027-01-01.")]
Priority = Annotated[str | None, _bound("WORD", "low, normal or high: who is let in under overload.")]

Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes any free port.")]
Fail = Annotated[
    list[str] | None,
    typer.Option(metavar="FAULT", help="STATUS:SHARE, such as 429:0.2; also reset, html, no-done, ..."),
]
FirstTokenDelay = Annotated[str | None, typer.Option(metavar="DURATION", help="Before an answer: 300ms.")]
ChunkDelay = Annotated[str | None, typer.Option(metavar="DURATION", help="Between two chunks: 10ms.")]
