"""
The local journal: where records wait, on disk, until the database has confirmed them.

Every process has a folder of its own below one root, locked while it lives. A folder holds segments, files of lines
that are only ever appended to. What has been appended is in the page cache: killing the process loses nothing of it.
It is not synced to the disk, so the machine losing its power may lose the last seconds.

The root belongs on a local disk: network file systems do not agree on what a lock is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote, urlsplit

SEGMENT = 4 * 2**20
"""Bytes after which a new segment is begun: about ten thousand records."""

HELD = 2**20
"""Bytes that are kept in memory while the disk takes nothing. What comes beyond is lost."""

LOCK = "lock"
SUFFIX = ".jsonl"


def beside(database: str) -> Path:
    """Where the journal of a database is: next to an SQLite file, else in the working directory."""
    url = urlsplit(database)
    if url.scheme.startswith("sqlite"):
        return Path(f"{unquote(url.path.removeprefix('/'))}.journal")
    return Path("gateway.journal")


class Journal:
    """What this process appends to. For one thread, except where a method says otherwise; any may read its values.

    No method raises: what is wrong with the disk is counted in `lost`, and told to `event` once. The folder is made
    when the first lines come. `now` is in seconds since 1970: the names of folders sort by it.
    """

    def __init__(
        self, root: Path, *, now: Callable[[], float], event: Callable[..., None], segment: int = SEGMENT
    ) -> None:
        self.root = root
        self.current: Path | None = None
        """The segment that is appended to. All others in its folder are complete."""
        self.appended = 0
        """Lines, those that are lost included."""
        self.lost = 0
        """Lines that neither the disk nor memory had room for."""
        self._now = now
        self._event = event
        self._segment = segment
        self._folder: Path | None = None
        self._lock = -1
        self._fd = -1
        self._size = 0
        self._number = 0
        self._held = b""
        self._cut = False
        """Whether the last write ended in the middle of a line."""
        self._failing = False
        self.closed = False

    def append(self, lines: bytes) -> None:
        """Appends whole lines with a single write, as a rule. When it returns, killing the process loses none of them,
        unless the disk takes nothing: then they wait in memory, and are tried again with the next ones."""
        count = lines.count(b"\n")
        self.appended += count
        if len(self._held) + len(lines) > HELD:
            self.lost += count
        else:
            self._held += lines
        self._flush()

    def is_complete(self, segment: str) -> bool:
        """Whether nothing will be appended to a segment any more. For any thread."""
        return self.closed or self.current is None or segment < self.current.name

    def renew(self) -> None:
        """Somebody has removed what we append to: the next lines go to a new folder. For any thread."""
        self.current = None

    def close(self) -> None:
        """Appends no more. The folder stays locked until `release`."""
        self._flush()
        self.lost += self._held.count(b"\n")
        self._held = b""
        self.closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def release(self) -> None:
        """Gives the folder up, and removes it if there is nothing in it. For any thread, after `close`."""
        if self._folder is not None and self._lock >= 0:
            Shelf(self._folder, self._lock).release()
            self._lock = -1

    def _flush(self) -> None:
        try:
            while self._held:
                self._write()
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._event("error", "journal_failed", error=f"{type(error).__name__}: {error.strerror}")
        else:
            if self._failing:
                self._failing = False
                self._event("info", "journal_back", lost=self.lost)

    def _write(self) -> None:
        # A full disk may take half a line. The other half has to follow in the same segment.
        if self.current is None or (self._size >= self._segment and not self._cut):
            self._begin_segment()
        written = os.write(self._fd, self._held)
        self._cut = self._held[written - 1 : written] != b"\n"
        self._size += written
        self._held = self._held[written:]

    def _begin_segment(self) -> None:
        if self.current is None:
            self._begin_folder()
        assert self._folder is not None
        path = self._folder / _segment(self._number + 1)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._cut = fd, 0, False
        self._number += 1
        self.current = path

    def _begin_folder(self) -> None:
        folder, lock = _own_folder(self.root, int(self._now()))
        if self._lock >= 0:
            os.close(self._lock)
        self._folder, self._lock = folder, lock


class Shelf:
    """A journal's folder as its reader sees it, who holds its lock."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    def release(self) -> None:
        """Unlocks the folder, having removed it if nothing is left in it."""
        if not segments(self.folder):
            with suppress(OSError):
                (self.folder / LOCK).unlink()
                self.folder.rmdir()
        os.close(self._lock)


def abandoned(root: Path) -> Iterator[Shelf]:
    """The journals whose process is gone, the oldest first. Each is locked: nobody else will be given it."""
    with suppress(FileNotFoundError):
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and (lock := _locked(folder)) is not None:
                yield Shelf(folder, lock)


def segments(folder: Path) -> list[Path]:
    """The segments of a journal, the oldest first."""
    with suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    return []


def lines_from(segment: Path, offset: int, most: int) -> bytes:
    """Whole lines of a segment from an offset on, up to so many bytes; nothing where there is no whole line yet.

    What runs on for `most` bytes without an end is no line of ours, and is given as if it were one. Raises OSError.
    """
    with segment.open("rb") as file:
        file.seek(offset)
        chunk = file.read(most)
    end = chunk.rfind(b"\n") + 1
    return chunk[:end] if end or len(chunk) < most else chunk


def _own_folder(root: Path, now: int) -> tuple[Path, int]:
    """A new folder and its lock. It gets its name only once it is locked, so that nobody takes it for abandoned."""
    name = f"{now:010d}-{os.getpid()}-{token_hex(8)}"
    hidden = root / f".{name}"
    hidden.mkdir(mode=0o700, parents=True)
    lock = _locked(hidden)
    assert lock is not None
    try:
        return hidden.rename(root / name), lock
    except OSError:
        os.close(lock)
        raise


def _locked(folder: Path) -> int | None:
    """The lock of a folder, or None: somebody has it, or the folder is gone."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _segment(number: int) -> str:
    return f"{number:010d}{SUFFIX}"
