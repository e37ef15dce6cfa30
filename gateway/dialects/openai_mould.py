"""Answers that are known again by their bytes. Pure.

Nearly every chunk of a stream, and nearly every plain answer of one model, has the same around its own words. Once one
was looked at and found right, its like need not be: to compare bytes takes a tenth of the time that it takes to parse
them and to look at each field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter

import orjson
from msgspec import Struct

from gateway.core.events import Usage
from gateway.dialects.openai_mend import settled_usage

PLAIN = re.compile(rb"[ !#-\[\]-~]+")
"""Text that JSON writes as it is: ASCII without quotation marks, backslashes and control characters."""

PADDINGS = (b',"obfuscation":"', b',"p":"')
"""Where OpenAI and Mistral have random letters by which they hide how long a text is."""
NULL_USAGE = b',"usage":null'


class Mould(Struct, frozen=True):
    """The bytes around the text of a chunk that was looked at and found right."""

    before: bytes
    after: bytes
    end: bytes
    """What follows the random letters that hide how long a text is; nothing where there are none."""

    def holds(self, data: bytes) -> int:
        """How long the text is, if these bytes are one such event and nothing else; else 0."""
        if not data.startswith(self.before):
            return 0
        start = len(self.before)
        stop = data.find(b'"', start)
        rest = stop + len(self.after)
        if not data.startswith(self.after, stop) or not PLAIN.fullmatch(data, start, stop):
            return 0
        if self.end:
            if not data.endswith(self.end) or not data[rest : -len(self.end)].isalnum():
                return 0
        elif rest != len(data):
            return 0
        return stop - start


def mould(raw: bytes, text: str) -> Mould | None:
    """What is around a text, if it is written there plainly."""
    before, found, after = raw.partition(b'"' + text.encode() + b'"')
    if not found or not before.endswith((b'content":', b'content": ')) or b"\n" in after[:-2]:
        return None
    padding = next((each for each in PADDINGS if each in after), b"")
    head, _, letters = after.partition(padding) if padding else (after, b"", b"")
    end = letters[letters.find(b'"') :] if padding else b""
    return Mould(before + b'"', b'"' + head + padding, end)


class Whole(Struct, frozen=True):
    """One unstreamed answer, as the client gets it."""

    body: bytes
    usage: Usage | None
    carried: int
    """Characters of output."""


class AnswerMould(Struct, frozen=True):
    """What stands before and behind the text of a plain answer that was looked at and found right.

    Numbers and ids may be others; every other byte must be the same.
    """

    head: re.Pattern[bytes]
    tail: re.Pattern[bytes]
    in_order: Callable[[tuple[int, ...]], tuple[int, ...]]
    """Of the groups of `tail` and a zero at their end: the token counts in the order of `COUNTS`."""

    def read(self, raw: bytes, start: int, stop: int) -> Whole | None:
        """The answer, if these bytes are one such, with its text between `start` and `stop`."""
        if self.head.fullmatch(raw, 0, start) is None or (told := self.tail.fullmatch(raw, stop)) is None:
            return None
        try:
            text = orjson.loads(raw[start - 1 : stop + 1])
        except orjson.JSONDecodeError:
            return None
        return Whole(raw, settled_usage(*self.in_order((*map(int, told.groups()), 0))), len(text))


MOST_ALIKE = 8
"""Moulds of answers whose text begins at the same place: those of several models, say."""

MOST_PLACES = 256

_KNOWN: dict[int, tuple[AnswerMould, ...]] = {}
"""By the place at which the text begins, the latest first."""


def recognised(raw: bytes) -> Whole | None:
    """The answer that these bytes are, if one like it has been remembered."""
    start = _text_in(raw)
    if (moulds := _KNOWN.get(start)) is None or (stop := _end_of_text(raw, start)) < 0:
        return None
    for mould in moulds:
        if (told := mould.read(raw, start, stop)) is not None:
            return told
    return None


def remember(told: Whole) -> None:
    """Makes a mould of an answer that was found right, if it is a plain one."""
    raw, start = told.body, _text_in(told.body)
    stop = _end_of_text(raw, start) if start else -1
    if stop < 0 or len(raw) - stop + start > MOULD_LIMIT or not _is_worth_it(raw[:start], raw[stop:]):
        return
    made = _cast(raw[:start], raw[stop:])
    if made is not None and made.read(raw, start, stop) == told:
        _KNOWN[start] = (made, *_KNOWN.get(start, ()))[:MOST_ALIKE]
        if len(_KNOWN) > MOST_PLACES:
            del _KNOWN[next(iter(_KNOWN))]


def _is_worth_it(head: bytes, tail: bytes) -> bool:
    """Whether the like of an answer has come before, and not too often in vain.

    A mould takes half a millisecond to make. Where a server puts something random beside the text, each answer would
    make one that no other fits. So it is made for the second of a kind, the fourth, the eighth.
    """
    kind = hash((_VARIES.sub(b"", head), _VARIES.sub(b"", tail)))
    times = _MET[kind] = _MET.get(kind, 0) + 1
    if len(_MET) > MOST_KINDS:
        del _MET[next(iter(_MET))]
    return times > 1 and times & (times - 1) == 0


_VARIES = re.compile(rb'"id":\s*"[^"]*"|\d+')
"""What may be other in an answer that fits the same mould."""

MOST_KINDS = 1024

_MET: dict[int, int] = {}
"""How often each kind of answer was met and fitted no mould."""

MOULD_LIMIT = 4096
"""Bytes around a text. Plain answers have a tenth of that."""

QUOTES = 64
"""Quotation marks in a text, up to which its end is looked for."""

BACKSLASH = ord("\\")


def _text_in(raw: bytes) -> int:
    """Where the text of an answer begins; 0 where none is found."""
    name = raw.find(b'"content":')
    return raw.find(b'"', name + 10, name + 12) + 1 if name >= 0 else 0


def _end_of_text(raw: bytes, start: int) -> int:
    """Where the quotation mark is that closes a string; -1 where it is too far to seek."""
    stop = start - 1
    for _ in range(QUOTES):
        stop = raw.find(b'"', stop + 1)
        escapes = stop
        while raw[escapes - 1] == BACKSLASH:
            escapes -= 1
        if stop < 0 or (stop - escapes) % 2 == 0:
            return stop
    return -1


COUNTS = (
    b'"prompt_tokens"',
    b'"completion_tokens"',
    b'"total_tokens"',
    b'"cached_tokens"',
    b'"cache_write_tokens"',
    b'"reasoning_tokens"',
)
"""Token counts, in the order in which `settled_usage` takes them. The first three are in every answer."""

LITERAL = frozenset({b'"audio_tokens"'})
"""Counts that may have a say in others: see `openai_mend.read_usage`."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[^"\d-]+|-')
_NUMBERS = (
    (re.compile(rb"0|[1-9]\d{0,14}"), rb"(?:0|[1-9]\d{0,14})"),
    (re.compile(rb"-?\d{1,15}\.\d{1,20}(?:[eE][+-]?\d{1,2})?"), rb"-?\d{1,15}\.\d{1,20}(?:[eE][+-]?\d{1,2})?"),
)
_COUNT = rb"(0|[1-9]\d{0,8})"
_ID = rb'"[!#-\[\]-~]*"'


def _cast(head: bytes, tail: bytes) -> AnswerMould | None:
    """A mould of what is around a text, both with the quotation mark that encloses it; None without all counts."""
    before, _ = _loosened(head[:-1], ())
    behind, counts = _loosened(tail[1:], COUNTS)
    if len(set(counts)) != len(counts) or not set(counts).issuperset(COUNTS[:3]):
        return None
    places = [counts.index(name) if name in counts else -1 for name in COUNTS]
    return AnswerMould(re.compile(before + b'"'), re.compile(b'"' + behind), itemgetter(*places))


def _loosened(part: bytes, counts: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """A pattern that takes other numbers and ids in the same places, and which counts its groups are."""
    pattern: list[bytes] = []
    named: list[bytes] = []
    key = b""
    for token in _TOKEN.findall(part):
        if token.startswith(b'"'):
            pattern.append(_ID if key == b'"id"' else re.escape(token))
            key = token
        elif key in LITERAL:
            pattern.append(re.escape(token))
        elif key in counts and token.isdigit():
            pattern.append(_COUNT)
            named.append(key)
        else:
            pattern.append(next((loose for number, loose in _NUMBERS if number.fullmatch(token)), re.escape(token)))
    return b"".join(pattern), named
