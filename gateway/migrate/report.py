"""What becomes of each thing that was brought along, and where it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal["same", "changed", "unsupported", "refused"]
"""`same` means the same here. `changed` is here too, with another meaning. `unsupported` is left out, and may be
missed. `refused` is left out because it is wrong, or because going on without it would be dangerous."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report. `line` and `column` count from 1; line 0 means that there is no text to point at."""

    file: str
    line: int
    column: int
    path: str
    verdict: Verdict
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.verdict}: {self.path}: {self.message}"


def in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Once each, in the order of the file. What has no place comes last."""
    return tuple(sorted(dict.fromkeys(lines), key=lambda line: (line.line == 0, line.line, line.column)))


def counted(lines: Iterable[Line]) -> Mapping[str, int]:
    """How many lines of each verdict there are, none of a verdict included."""
    found = Counter(line.verdict for line in lines)
    return {verdict: found[verdict] for verdict in get_args(Verdict)}


def on_one_line(text: str) -> str:
    """Without what would end a line or could not be seen: names come from the file, and may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)
