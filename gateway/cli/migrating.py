"""`gateway import litellm`: LiteLLM's configuration as one of ours, with a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.cli.telling import print_json
from gateway.config.complaints import Complaint, ConfigError
from gateway.config.resolve import text_of
from gateway.migrate.config import Converted, convert
from gateway.migrate.report import Line, counted

STYLES = {"same": "dim", "changed": "yellow", "unsupported": "magenta", "refused": "bold red"}


def run(file: Path, out: Path | None, *, as_json: bool) -> int:
    """Converts a `config.yaml`. Returns the exit status: 1 if anything in it is refused.

    The configuration goes to a file or to standard output, the report to wherever the configuration does not.
    """
    from gateway.cli.configuration import complain

    try:
        converted = convert(text_of(file), str(file))
        if out is not None:
            _write(out, converted.text)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    if as_json:
        told = {**summary(converted.report), "exports": dict(converted.exports), "config": converted.text}
        print_json(told)
    else:
        if out is None:
            print(converted.text, end="", flush=True)
        _print(converted, out, Console(highlight=False, stderr=out is None))
    return status(converted.report)


def _write(out: Path, text: str) -> None:
    """Into a new file. Raises ConfigError."""
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError([Complaint(str(out), 0, 0, "", f"cannot be written: {error.strerror}")]) from None


def _print(converted: Converted, out: Path | None, console: Console) -> None:
    print_lines(converted.report, console)
    if converted.exports:
        console.print("\nThese stood in the file in clear. Put each into the environment:\n", markup=False)
        for name, place in converted.exports:
            console.print(f"  export {name}=...   # as it is in {place}", markup=False, soft_wrap=True)
    wrote = f" Wrote {out}; try `gateway check {out}`." if out else ""
    console.print(f"\n{counts(converted.report)}.{wrote}", markup=False, soft_wrap=True)


def print_lines(report: Iterable[Line], console: Console) -> None:
    """A report, each line in the colour of its verdict."""
    for line in report:
        console.print(Text(str(line), STYLES[line.verdict]), soft_wrap=True)


def counts(report: Iterable[Line]) -> str:
    """`3 same, 1 changed, 0 unsupported, 0 refused`."""
    return ", ".join(f"{number} {verdict}" for verdict, number in counted(report).items())


def summary(report: tuple[Line, ...]) -> dict[str, Any]:
    """A report for scripts."""
    return {"ok": not status(report), "counts": dict(counted(report)), "report": [asdict(line) for line in report]}


def status(report: Iterable[Line]) -> int:
    """The exit status of a command with this report."""
    return int(any(line.verdict == "refused" for line in report))
