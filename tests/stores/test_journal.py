"""The local journal, on a disk that fills up, is taken away, and is shared with others."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.journal import HELD, Journal, Shelf, abandoned, beside, lines_from, segments, torn
from tests.stores.books import NOON, Log, left_behind


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def journal(tmp_path: Path, log: Log) -> Iterator[Journal]:
    found = Journal(tmp_path / "journal", now=lambda: NOON, event=log, segment=1000)
    yield found
    found.close()
    found.release()


def test_what_has_been_appended_is_in_the_file(journal: Journal) -> None:
    journal.append(b"one\ntwo\n")
    journal.append(b"three\n")
    assert _content(journal) == b"one\ntwo\nthree\n"
    assert journal.appended == 3


def test_nothing_is_made_before_there_is_something_to_write(journal: Journal) -> None:
    assert not journal.root.exists()


def test_only_the_owner_can_read_it(journal: Journal) -> None:
    journal.append(b"one\n")
    assert journal.current is not None
    assert journal.current.stat().st_mode & 0o077 == 0
    assert journal.current.parent.stat().st_mode & 0o077 == 0
    assert journal.root.stat().st_mode & 0o077 == 0


def test_a_segment_that_is_full_is_followed_by_another(journal: Journal) -> None:
    for number in range(5):
        journal.append(b"x" * 399 + b"\n")
        assert journal.appended == number + 1
    assert [journal.growing(path.name) for path in _segments(journal)] == [None, None, 400]
    journal.close()
    assert [path.stat().st_size for path in _segments(journal)] == [800, 800, 400]


def test_what_is_longer_than_a_segment_has_one_of_its_own(journal: Journal) -> None:
    journal.append(b"x" * 2999 + b"\n")
    journal.append(b"one\n")
    assert [len(path.read_bytes().rstrip(b"\0")) for path in _segments(journal)] == [3000, 4]


def test_a_closed_journal_is_complete(journal: Journal) -> None:
    journal.append(b"one\n")
    assert journal.growing(_segments(journal)[0].name) == 4
    journal.close()
    assert journal.growing(_segments(journal)[0].name) is None


def test_lines_that_come_while_the_disk_is_full_are_written_later(journal: Journal, log: Log) -> None:
    lines = [f"line {number:03}\n".encode() for number in range(400)]
    for line in lines[:50]:
        journal.append(line)
    with disk_of(103):
        for line in lines[50:300]:
            journal.append(line)
    assert _content(journal) == b"".join(lines[:111])  # of 1000 bytes
    for line in lines[300:]:
        journal.append(line)
    assert _content(journal) == b"".join(lines)
    assert journal.lost == 0
    assert log.events == ["journal_failed", "journal_back"]
    assert len(list(journal.root.iterdir())) == 1


def test_what_is_held_when_it_ends_is_written_if_the_disk_lets_it(journal: Journal) -> None:
    with disk_of(0):
        journal.append(b"one\n")
    journal.close()
    assert (_content(journal), journal.lost) == (b"one\n", 0)


def test_what_neither_disk_nor_memory_has_room_for_is_counted(journal: Journal, log: Log) -> None:
    batch = (b"x" * 99 + b"\n") * 1000
    with disk_of(0):
        for _ in range(20):
            journal.append(batch)
    kept = HELD // len(batch)
    assert (journal.appended, journal.lost) == (20_000, (20 - kept) * 1000)
    assert log.events == ["journal_failed"]
    journal.append(b"more\n")
    assert sum(path.read_bytes().count(b"\n") for path in _segments(journal)) == kept * 1000 + 1


def test_a_place_that_is_none_costs_no_call(tmp_path: Path, log: Log) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "journal", now=lambda: NOON, event=log)
    journal.append(b"one\n")
    assert log.events == ["journal_failed"]
    (tmp_path / "file").unlink()
    journal.append(b"two\n")
    assert _content(journal) == b"one\ntwo\n"
    journal.close()
    journal.release()


def test_a_journal_that_was_removed_goes_on_elsewhere(journal: Journal) -> None:
    journal.append(b"one\n")
    for path in _segments(journal):
        path.unlink()
    journal.renew()
    journal.append(b"two\n")
    assert _content(journal) == b"two\n"


def test_the_journal_of_a_living_process_is_left_alone(journal: Journal) -> None:
    journal.append(b"one\n")
    assert list(abandoned(journal.root)) == []


def test_what_a_process_left_behind_is_given_to_one_only_the_oldest_first(tmp_path: Path) -> None:
    for name in ("0000000002-7-b", "0000000001-9-a"):
        left_behind(tmp_path, b"one\n", name)
    found = list(abandoned(tmp_path))
    assert [shelf.folder.name for shelf in found] == ["0000000001-9-a", "0000000002-7-b"]
    assert list(abandoned(tmp_path)) == []
    _release(found)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000001-9-a", "0000000002-7-b"]


def test_a_folder_with_nothing_in_it_is_removed_when_it_is_given_up(tmp_path: Path) -> None:
    left_behind(tmp_path, b"").unlink()
    _release(list(abandoned(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_no_journals_are_found_where_there_is_no_folder(tmp_path: Path) -> None:
    assert list(abandoned(tmp_path / "nowhere")) == []
    assert segments(tmp_path / "nowhere") == []


def test_closing_leaves_no_folder_once_everything_has_been_carried(journal: Journal) -> None:
    journal.append(b"one\n")
    journal.close()
    for path in _segments(journal):
        path.unlink()
    journal.release()
    assert list(journal.root.iterdir()) == []


def test_only_whole_lines_are_read(tmp_path: Path) -> None:
    segment = left_behind(tmp_path, b"one\ntwo\nthr")
    assert lines_from(segment, 0, 100) == b"one\ntwo\n"
    assert lines_from(segment, 0, 6) == b"one\n"
    assert lines_from(segment, 4, 100) == b"two\n"
    assert lines_from(segment, 8, 100) == b""


def test_what_has_no_end_does_not_keep_the_reader_where_it_is(tmp_path: Path) -> None:
    segment = left_behind(tmp_path, b"x" * 250 + b"\none\n")
    assert lines_from(segment, 0, 100) == b"x" * 100
    assert lines_from(segment, 200, 100) == b"x" * 50 + b"\none\n"


def test_what_was_never_written_is_not_read(tmp_path: Path) -> None:
    segment = left_behind(tmp_path, b"one\ntwo" + b"\0" * 100)
    assert lines_from(segment, 0, 50) == b"one\n"
    assert lines_from(segment, 4, 6) == b""


@pytest.mark.parametrize(
    ("behind", "lines"),
    [
        (b"", 0),
        (bytes(100), 0),
        (b"tw", 1),
        (b"tw" + bytes(100), 1),
        (b"t\0o\n" + bytes(100), 1),
        (bytes(50) + b"two\nthree\n" + bytes(50), 2),
    ],
)
def test_lines_behind_the_last_whole_one_are_counted(behind: bytes, lines: int, tmp_path: Path) -> None:
    assert torn(left_behind(tmp_path, b"one\n" + behind), 4) == lines


@pytest.mark.parametrize(
    ("database", "journal"),
    [
        ("sqlite:///gateway.db", "gateway.db.journal"),
        ("sqlite:////var/lib/gateway.db", "/var/lib/gateway.db.journal"),
        ("postgresql://user:secret@host/gateway", "gateway.journal"),
    ],
)
def test_the_journal_is_beside_the_database(database: str, journal: str) -> None:
    assert beside(database) == Path(journal)


@contextmanager
def disk_of(most: int) -> Iterator[None]:
    """No file can become larger than so many bytes; what is written beyond is refused, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _segments(journal: Journal) -> list[Path]:
    assert journal.current is not None
    return segments(journal.current.parent)


def _content(journal: Journal) -> bytes:
    return b"".join(path.read_bytes().rstrip(b"\0") for path in _segments(journal))


def _release(found: list[Shelf]) -> None:
    for shelf in found:
        shelf.release()
