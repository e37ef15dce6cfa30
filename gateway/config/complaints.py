"""What is wrong with a configuration, and where it stands.

A `Review` goes along with one file through reading and resolving: it knows the place of every value and collects every
complaint, so that one look at the list is enough to mend the file. No message holds the value of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Steps = tuple[str | int, ...]
"""The way to a value: keys of mappings and, counted from 0, items of lists."""

LONGEST_QUOTE = 60
"""Characters of a value that are repeated in a complaint about it."""

_BARE = re.compile(r"[\w*/:-]+")


@dataclass(frozen=True, slots=True, order=True)
class Complaint:
    """One thing to mend. `line` and `column` count from 1; line 0 means that there is no text to point at."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used. `complaints` is sorted by position and holds nothing twice."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(sorted(set(complaints)))
        super().__init__("\n".join(map(str, self.complaints)))


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a text, counted from 1."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and how it may be spoken of."""

    mark: Mark
    shown: str = "the value"
    """The value as it was written, with `${VARIABLES}` unreplaced; never what a secret is."""
    typed: bool = True
    """Whether the text itself holds the value. False where a variable or a file gave it."""
    variables: tuple[str, ...] = ()
    """The environment variables it was taken from."""


class Review:
    """The places and the complaints of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Steps, Place] = {}
        self.complaints: list[Complaint] = []
        self._unread: set[Steps] = set()

    def beside(self) -> Review:
        """A review of the same file with nothing noted in it yet."""
        other = Review(self.file)
        other.places = self.places
        return other

    def complain(self, path: Steps, message: str, mark: Mark | None = None) -> None:
        """Notes a complaint, at `mark` or else where the value at `path`, or what should hold it, stands."""
        mark = mark or self._nearest(path).mark
        self._unread.add(path)
        self.complaints.append(Complaint(self.file, mark.line, mark.column, spell(path), message))

    def doubt(self, path: Steps) -> None:
        """Notes that the value at `path` is not what was meant, as another complaint says already."""
        self._unread.add(path)

    def read_well(self, path: Steps) -> bool:
        """Whether the value at `path` is as it was meant. If not, nothing should be concluded from it."""
        return path not in self._unread

    def place(self, path: Steps) -> Place:
        return self.places.get(path, Place(Mark()))

    def shown(self, path: Steps) -> str:
        """The value at `path`, as it may stand in a complaint."""
        return self.place(path).shown

    def line(self, path: Steps) -> int:
        return self._nearest(path).mark.line

    def finish(self) -> None:
        """Raises ConfigError if there was any complaint."""
        if self.complaints:
            raise ConfigError(self.complaints)

    def _nearest(self, path: Steps) -> Place:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(Mark()))


def spell(path: Steps) -> str:
    """A path as people read it: `models.fast.targets[0].provider`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.fullmatch(step) else quoted(step))
    return text


def quoted(text: str) -> str:
    """A value within a message: on one line, and not too long."""
    seen = text if text.isprintable() else text.encode("unicode_escape").decode()
    return f"`{seen if len(seen) <= LONGEST_QUOTE else seen[:LONGEST_QUOTE] + '...'}`"


def one_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`(did you mean X?)` with the closest known word, or nothing."""
    close = closest(word, known)
    return f" (did you mean `{close}`?)" if close else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
