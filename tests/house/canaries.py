"""Secrets that are planted to be looked for: in whatever was captured, in every spelling that hides one."""

from __future__ import annotations

from base64 import b32encode, b64encode
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

PIECE = 10
"""Characters of a secret that give it away: a mask that leaves so many is none."""


class Canaries:
    """The secrets of one test, by the place where each was put."""

    def __init__(self) -> None:
        self._cores: dict[str, bytes] = {}

    def __call__(self, place: str, before: str = "sk-") -> str:
        """The secret of a place: the same each time, and unlike any other."""
        core = b32encode(sha256(place.encode()).digest())[:26].lower()
        self._cores[place] = core
        return before + core.decode()

    def add(self, place: str, secret: str) -> None:
        """One that somebody else has made."""
        self._cores[place] = secret.removeprefix("sk-").encode()

    def found(self, captured: Mapping[str, bytes], but: Collection[str] = ()) -> list[str]:
        """What was found where; `but` are places whose secrets may be there."""
        return [
            f"{place} is in {name}, as {spelling}: ...{_around(text, needle)!r}..."
            for place, core in self._cores.items()
            if place not in but
            for spelling, needle in spellings(core)
            for name, text in captured.items()
            if needle in text
        ]


def spellings(core: bytes) -> Iterator[tuple[str, bytes]]:
    """How a secret may be written. Quoting in URLs and in JSON leaves letters and digits as they are."""
    middle = (len(core) - PIECE) // 2
    for start in (0, middle, len(core) - PIECE):
        yield "itself", core[start : start + PIECE]
    yield "capitals", core.upper()
    yield "its reverse", core[::-1]
    for shift in range(3):  # what stands before it moves it against the groups of base64
        yield "base64", b64encode(bytes(shift) + core)[4:-4]
    for case in (str.lower, str.upper):
        yield "hexadecimal", case(core.hex()).encode()
        yield "percent signs", "".join("%" + case(f"{each:02x}") for each in core).encode()
        yield "escapes of JSON", "".join("\\u00" + case(f"{each:02x}") for each in core).encode()


def files(folder: Path, but: Collection[str] = ()) -> dict[str, bytes]:
    """Everything below a folder, but for files of these names."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but]
    return {f"the file {path.relative_to(folder)}": path.read_bytes() for path in paths}


def _around(text: bytes, needle: bytes) -> bytes:
    at = text.index(needle)
    return text[max(0, at - 60) : at + len(needle) + 20]
