"""
The local journal: where records wait, on disk, until the database has confirmed them.

Every process has a folder of its own below one root, locked while it lives. A folder holds segments, files of lines
that are only ever appended to. What has been appended is in the page cache: killing the process loses nothing of it.
It is not synced to the disk, so the machine losing its power may lose the last seconds.

The segment that is appended to is mapped into memory, and is zeros from its last line on: to copy a line there takes a
tenth of the time of a system call, and nobody else gets the interpreter meanwhile. Its room on the disk is taken before
it is mapped, so that a full disk is met where it can be borne, when a segment is begun.

The root belongs on a local disk: network file systems do not agree on what a lock is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import ENOSPC
from mmap import mmap
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote, urlsplit

SEGMENT = 2**20
"""Bytes of a segment: some thousands of records. Longer ones would cost memory, and a pause when they are begun."""

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
        self._number = 0
        self._pages: mmap | None = None
        self._room = 0
        """Bytes of the pages; 0: the next lines need others."""
        self._end = 0
        """Where the next line begins."""
        self._held = b""
        self._failing = False
        self.closed = False

    def append(self, lines: bytes) -> None:
        """Appends whole lines. When it returns, killing the process loses none of them, unless the disk takes nothing:
        then they wait in memory, and are tried again with the next ones."""
        self.appended += lines.count(b"\n")
        end = self._end + len(lines)
        if end <= self._room:
            self._pages[self._end : end] = lines  # type: ignore[index]  # there is no room without pages
            self._end = end
        else:
            self._hold(lines)
            self._flush()

    def growing(self, segment: str) -> int | None:
        """How many bytes of a segment are lines, if more may be appended; None: it is complete. For any thread."""
        current, end = self.current, self._end
        return None if self.closed or current is None or segment < current.name else end

    def renew(self) -> None:
        """Somebody has removed what we append to: the next lines go to a new folder. For any thread."""
        self.current = None
        self._room = 0

    def close(self) -> None:
        """Appends no more. The folder stays locked until `release`."""
        if self._held:
            self._flush()
        self.lost += self._held.count(b"\n")
        self._held = b""
        self._end_segment()
        self.closed = True

    def release(self) -> None:
        """Gives the folder up, and removes it if there is nothing in it. For any thread, after `close`."""
        if self._folder is not None and self._lock >= 0:
            Shelf(self._folder, self._lock).release()
            self._lock = -1

    def _hold(self, lines: bytes) -> None:
        if len(self._held) + len(lines) > HELD:
            self.lost += lines.count(b"\n")
        else:
            self._held += lines

    def _flush(self) -> None:
        try:
            self._begin_segment(max(self._segment, len(self._held)))
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._event("error", "journal_failed", error=f"{type(error).__name__}: {error.strerror}")
            return
        assert self._pages is not None
        self._pages[: len(self._held)] = self._held
        self._end, self._held = len(self._held), b""
        if self._failing:
            self._failing = False
            self._event("info", "journal_back", lost=self.lost)

    def _begin_segment(self, size: int) -> None:
        if self._folder is None or not self._folder.exists():
            self._begin_folder()
        assert self._folder is not None
        path = self._folder / _segment(self._number + 1)
        pages = _mapped(path, size)
        self._end_segment()
        self._number += 1
        self._pages, self._room, self._end, self.current = pages, size, 0, path

    def _end_segment(self) -> None:
        """Cuts off what is not used of it."""
        if self._pages is None:
            return
        self._pages.close()
        self._pages, self._room = None, 0
        if self.current is not None:
            with suppress(OSError):  # it may be gone
                os.truncate(self.current, self._end)

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
        chunk, zeros, _ = file.read(most).partition(b"\0")
    end = chunk.rfind(b"\n") + 1
    return chunk[:end] if end or zeros or len(chunk) < most else chunk


def torn(segment: Path, end: int) -> int:
    """How many lines of a complete segment come behind its last whole one: of a process killed as it wrote, or of a
    machine that lost its power."""
    rest = segment.read_bytes()[end:].strip(b"\0")
    return rest.count(b"\n") or int(bool(rest))


def _mapped(path: Path, size: int) -> mmap:
    """A new file of zeros, in memory."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # A page that has no place on the disk yet could kill the process later, when there is none left (SIGBUS).
        if os.write(fd, bytes(size)) < size:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        return mmap(fd, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(fd)


def _own_folder(root: Path, now: int) -> tuple[Path, int]:
    """A new folder and its lock. It gets its name only once it is locked, so that nobody takes it for abandoned."""
    name = f"{now:010d}-{os.getpid()}-{token_hex(8)}"
    hidden = root / f".{name}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden.mkdir(mode=0o700)
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
